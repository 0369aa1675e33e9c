// Waltwin reads a server's write-ahead log with etcd's own reader, and holds it to etcd's: the same calls to
// both must leave the same entries at the same index and term, from the first configuration change on.
//
// Usage: waltwin -subject build/release/bin/keelson, or waltwin -dir <data-dir> to print one log.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"keelson.dev/tests/peers/internal/server"
)

func main() {
	subject := flag.String("subject", os.Getenv("KEELSON_BIN"), "server to hold against etcd (default $KEELSON_BIN, else etcd)")
	oracle := flag.String("oracle", filepath.Join(filepath.Dir(os.Args[0]), "etcd"), "etcd itself")
	dir := flag.String("dir", "", "print the log of this data directory and end")
	flag.Parse()
	if err := run(*subject, *oracle, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "waltwin:", err)
		os.Exit(1)
	}
}

func run(subject, oracle, dir string) error {
	if dir != "" {
		lines, err := readLog(dir)
		fmt.Println(strings.Join(lines, "\n"))
		return err
	}
	if subject == "" {
		subject = oracle
	}
	want, err := logOf("oracle", oracle)
	if err != nil {
		return err
	}
	got, err := logOf("subject", subject)
	if err != nil {
		return err
	}
	for i := range max(len(want), len(got)) {
		w, g := line(want, i), line(got, i)
		if w != g {
			return fmt.Errorf("line %d of the log differs\n  etcd:    %s\n  subject: %s", i+1, w, g)
		}
	}
	fmt.Printf("PASS %d lines of the log agree\n", len(want))
	return nil
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(none)"
}

// logOf starts a server, makes the calls, restarts it once in between, and reads the log it leaves.
func logOf(name, bin string) ([]string, error) {
	dir, err := os.MkdirTemp("", "keelson-waltwin-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, calls := range []func(context.Context, *grpc.ClientConn) error{firstLife, secondLife} {
		if err := live(ctx, name, bin, dir, calls); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return readLog(filepath.Join(dir, "data"))
}

func live(ctx context.Context, name, bin, dir string, calls func(context.Context, *grpc.ClientConn) error) error {
	s, err := server.Start(ctx, server.Config{Bin: bin, Name: name, Dir: dir,
		AdvertisePeer: "http://127.0.0.1:2380", AdvertiseClient: "http://127.0.0.1:2379"})
	if err != nil {
		return err
	}
	defer s.Stop()
	conn, err := server.Dial(s.Endpoint)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The member proposes the cluster's version by itself; the calls come after it.
	if err := server.AwaitVersion(ctx, conn); err != nil {
		return err
	}
	if err := calls(ctx, conn); err != nil {
		return err
	}
	return s.Terminate(30 * time.Second)
}

func firstLife(ctx context.Context, conn *grpc.ClientConn) error {
	kv, leases := pb.NewKVClient(conn), pb.NewLeaseClient(conn)
	put := func(key, value string, lease int64) error {
		_, err := kv.Put(ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(value), Lease: lease})
		return err
	}
	_, err := leases.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 77, TTL: 3600})
	return errors.Join(err,
		put("a", "1", 0), put("b", "", 77), put("c", strings.Repeat("x", 300), 0),
		second(kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("b"), PrevKv: true})),
		second(kv.Txn(ctx, &pb.TxnRequest{
			Compare: []*pb.Compare{{Key: []byte("c"), Target: pb.Compare_VERSION, Result: pb.Compare_EQUAL,
				TargetUnion: &pb.Compare_Version{Version: 1}}},
			Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
				Key: []byte("c"), IgnoreValue: true, Lease: 77}}}},
			Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{
				Key: []byte("c")}}}},
		})),
		second(kv.Compact(ctx, &pb.CompactionRequest{Revision: 3})))
}

func secondLife(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := pb.NewLeaseClient(conn).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: 77})
	return errors.Join(err,
		second(pb.NewMaintenanceClient(conn).Alarm(ctx, &pb.AlarmRequest{
			Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: 5})),
		second(pb.NewMaintenanceClient(conn).Alarm(ctx, &pb.AlarmRequest{
			Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: 5})),
		second(pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: []byte("d"), Value: []byte("2")})))
}

func second[T any](_ T, err error) error { return err }

// readLog reads as etcd does at a start, from the beginning, checksums included.
func readLog(dataDir string) ([]string, error) {
	w, err := wal.OpenForRead(zap.NewNop(), filepath.Join(dataDir, "member", "wal"), &walpb.Snapshot{})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	metadata, state, entries, err := w.ReadAll()
	if err != nil {
		return nil, err
	}
	lines := []string{fmt.Sprintf("metadata %x", metadata), fmt.Sprintf("term %d vote %x", state.GetTerm(), state.GetVote())}
	for _, entry := range entries {
		text, err := describe(entry)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", entry.GetIndex(), err)
		}
		lines = append(lines, fmt.Sprintf("%d/%d %v %s", entry.GetTerm(), entry.GetIndex(), entry.GetType(), text))
	}
	return lines, nil
}

// describe leaves out the ids that a server makes up: of requests and configuration changes.
func describe(entry *raftpb.Entry) (string, error) {
	if entry.GetType() == raftpb.EntryConfChange {
		var change raftpb.ConfChange
		if err := proto.Unmarshal(entry.Data, &change); err != nil {
			return "", err
		}
		return fmt.Sprintf("%v %x %s", change.GetType(), change.GetNodeId(), change.GetContext()), nil
	}
	if len(entry.Data) == 0 {
		return "empty", nil
	}
	var request pb.InternalRaftRequest
	if err := proto.Unmarshal(entry.Data, &request); err != nil {
		return "", err
	}
	if request.Header == nil || request.Header.ID == 0 {
		return "", errors.New("a request without an id")
	}
	request.Header.ID = 0
	text, err := prototext.MarshalOptions{}.Marshal(&request)
	return strings.ReplaceAll(string(text), "  ", " "), err
}
