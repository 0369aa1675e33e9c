package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"go.etcd.io/etcd/client/pkg/v3/types"
	httptypes "go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	stats "go.etcd.io/etcd/server/v3/etcdserver/api/v2stats"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"keelson.dev/tests/peers/internal/server"
)

const (
	cluster = types.ID(0xc1)
	ours    = types.ID(0x1)
	its     = types.ID(0x2)
	patient = 20 * time.Second
)

// noted is what an end has heard so far: lines, in order.
type noted struct {
	mu    sync.Mutex
	lines []string
}

func (n *noted) note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *noted) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.lines)
}

func (n *noted) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = nil
}

func (n *noted) heard(line string) bool { return slices.Contains(n.all(), line) }

func until(what string, done func() bool) error {
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if done() {
			return nil
		}
	}
	return fmt.Errorf("waited in vain for %s", what)
}

func (n *noted) await(line string) error {
	if err := until(line, func() bool { return n.heard(line) }); err != nil {
		heard := n.all()
		if len(heard) > 5 {
			heard = heard[len(heard)-5:]
		}
		for i := range heard {
			heard[i] = heard[i][:min(len(heard[i]), 120)]
		}
		return fmt.Errorf("%w; the last it heard: %q", err, heard)
	}
	return nil
}

func freeAddress() string {
	port, err := server.FreePort()
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// tool is our end: a process told by lines.
type tool struct {
	noted
	active  atomic.Int64 // peers, as it said last
	id      types.ID
	address string
	command *exec.Cmd
	stdin   io.WriteCloser
	orders  int
}

func startTool(binary string, id types.ID, address string, args ...string) (*tool, error) {
	t := &tool{id: id, address: address}
	all := append([]string{"--id", id.String(), "--cluster", cluster.String(), "--listen", address}, args...)
	t.command = exec.Command(binary, all...)
	if os.Getenv("PEERTWIN_LOGS") != "" {
		t.command.Stderr = os.Stderr
	}
	var err error
	if t.stdin, err = t.command.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := t.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := t.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		lines := bufio.NewReaderSize(stdout, 1<<20)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSuffix(line, "\n")
			t.note("%s", line)
			if count, ok := strings.CutPrefix(line, "active "); ok {
				n, _ := strconv.Atoi(count)
				t.active.Store(int64(n))
			}
		}
	}()
	return t, t.await("ready")
}

func (t *tool) url() string { return "http://" + t.address }

func (t *tool) tell(format string, args ...any) { fmt.Fprintf(t.stdin, format+"\n", args...) }

// order tells, and waits until it is done.
func (t *tool) order(format string, args ...any) error {
	t.orders++
	t.tell(format, args...)
	t.tell("done? %d", t.orders)
	return t.await(fmt.Sprintf("done %d", t.orders))
}

func (t *tool) send(m *raftpb.Message) { t.tell("message %x", marshal(m)) }

func (t *tool) kill() {
	t.command.Process.Kill()
	t.command.Wait()
}

// got are the messages it got.
func (t *tool) got() [][]byte {
	var all [][]byte
	for _, line := range t.all() {
		if text, ok := strings.CutPrefix(line, "message "); ok {
			b, _ := hex.DecodeString(text)
			all = append(all, b)
		}
	}
	return all
}

func (t *tool) messages() [][]byte { return slices.DeleteFunc(t.got(), isTrial) }

// trialTerm is that of the messages which find out whether streams are open. One of them may still be on its way, by a
// post, when a case begins: they are no case's messages.
const trialTerm = 1 << 40

func isTrial(b []byte) bool {
	var m raftpb.Message
	return proto.Unmarshal(b, &m) == nil && m.GetTerm() == trialTerm
}

func trial(m *raftpb.Message) *raftpb.Message {
	m.Term = proto.Uint64(trialTerm)
	return m
}

// member is etcd's end: its transport, before a raft that notes.
type member struct {
	noted
	id      types.ID
	cluster types.ID
	address string
	dir     string
	tr      *rafthttp.Transport
	server  *http.Server
	errors  chan error

	raftMu   sync.Mutex
	removed  map[uint64]bool
	received [][]byte
	paths    map[string]int
}

func startMember(id, cluster types.ID, address string) (*member, error) {
	dir, err := os.MkdirTemp("", "peertwin")
	if err != nil {
		return nil, err
	}
	m := &member{id: id, cluster: cluster, address: address, dir: dir, errors: make(chan error, 1),
		removed: map[uint64]bool{}, paths: map[string]int{}}
	lg := zap.NewNop()
	if os.Getenv("PEERTWIN_LOGS") != "" {
		lg, _ = zap.NewDevelopment()
	}
	m.tr = &rafthttp.Transport{
		Logger:      lg,
		DialTimeout: 2 * time.Second,
		ID:          id,
		URLs:        types.MustNewURLs([]string{m.url()}),
		ClusterID:   cluster,
		Raft:        m,
		Snapshotter: snap.New(lg, dir),
		ServerStats: stats.NewServerStats("", ""),
		LeaderStats: stats.NewLeaderStats(lg, id.String()),
		ErrorC:      m.errors,
	}
	if err := m.tr.Start(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	handler := m.tr.Handler()
	m.server = &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.raftMu.Lock()
		m.paths[r.URL.Path]++
		m.raftMu.Unlock()
		handler.ServeHTTP(w, r)
	})}
	go m.server.Serve(l)
	return m, nil
}

func (m *member) url() string { return "http://" + m.address }

func (m *member) stop() {
	m.tr.Stop()
	m.server.Close()
	os.RemoveAll(m.dir)
}

func (m *member) asked(path string) int {
	m.raftMu.Lock()
	defer m.raftMu.Unlock()
	return m.paths[path]
}

func (m *member) got() [][]byte {
	m.raftMu.Lock()
	defer m.raftMu.Unlock()
	return slices.Clone(m.received)
}

func (m *member) messages() [][]byte { return slices.DeleteFunc(m.got(), isTrial) }

// The raft behind it, with the checks that etcd's server makes.

func (m *member) Process(_ context.Context, message *raftpb.Message) error {
	if m.IsIDRemoved(message.GetFrom()) {
		return httptypes.NewHTTPError(http.StatusForbidden, "cannot process message from removed member")
	}
	if message.GetTo() != uint64(m.id) {
		return httptypes.NewHTTPError(http.StatusForbidden, "cannot process message to mismatch member")
	}
	m.raftMu.Lock()
	m.received = append(m.received, marshal(message))
	m.raftMu.Unlock()
	return nil
}

func (m *member) IsIDRemoved(id uint64) bool {
	m.raftMu.Lock()
	defer m.raftMu.Unlock()
	return m.removed[id]
}

func (m *member) remove(id types.ID) {
	m.raftMu.Lock()
	m.removed[uint64(id)] = true
	m.raftMu.Unlock()
}

func (m *member) ReportUnreachable(id uint64) { m.note("unreachable %x", id) }

func (m *member) ReportSnapshot(id uint64, status raft.SnapshotStatus) {
	outcome := "finished"
	if status == raft.SnapshotFailure {
		outcome = "failed"
	}
	m.note("sent %x %s", id, outcome)
}

func (m *member) awaitError(text string) error {
	select {
	case err := <-m.errors:
		if err.Error() != text {
			return fmt.Errorf("its error is %q", err)
		}
		return nil
	case <-time.After(patient):
		return errors.New("it heard of no error")
	}
}

// pair is one member of each kind that know each other, streams open.
type pair struct {
	us *tool
	it *member
}

// startEnds starts both, who do not know each other. Nothing is left of them if one does not start.
func startEnds(binary string, theirCluster types.ID, args ...string) (*pair, error) {
	us, err := startTool(binary, ours, freeAddress(), args...)
	if err != nil {
		return nil, err
	}
	it, err := startMember(its, theirCluster, freeAddress())
	if err != nil {
		us.kill()
		return nil, err
	}
	return &pair{us, it}, nil
}

// startPair starts both and makes them peers.
func startPair(binary string) (*pair, error) {
	p, err := startEnds(binary, cluster)
	if err != nil {
		return nil, err
	}
	p.us.tell("peer %s %s", its, p.it.url())
	p.it.tr.AddPeer(ours, []string{p.us.url()})
	if err := p.connected(); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *pair) stop() {
	p.us.kill()
	p.it.stop()
}

// connected waits until messages pass by streams both ways.
func (p *pair) connected() error {
	return until("streams", func() bool {
		before := p.it.asked("/raft")
		p.us.send(trial(heartbeat(ours, its)))
		p.it.tr.Send([]*raftpb.Message{trial(heartbeat(its, ours)), trial(appendMessage(its, ours, 1, 0))})
		time.Sleep(100 * time.Millisecond)
		return p.it.asked("/raft/stream/msgapp/1") > 0 && p.it.asked("/raft/stream/message/1") > 0 &&
			p.it.tr.ActivePeers() == 1 && p.us.active.Load() == 1 && len(p.it.got()) > 0 &&
			len(p.us.got()) > 0 && p.it.asked("/raft") == before
	})
}

// forget: what was heard until now is not looked at any more.
func (p *pair) forget() {
	p.us.clear()
	p.it.clear()
	p.it.raftMu.Lock()
	p.it.received = nil
	p.it.raftMu.Unlock()
}

func marshal(m *raftpb.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func heartbeat(from, to types.ID) *raftpb.Message {
	return &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: proto.Uint64(uint64(from)),
		To: proto.Uint64(uint64(to)), Term: proto.Uint64(1)}
}

func appendMessage(from, to types.ID, index uint64, size int) *raftpb.Message {
	return &raftpb.Message{Type: raftpb.MsgApp.Enum(), From: proto.Uint64(uint64(from)),
		To: proto.Uint64(uint64(to)), Term: proto.Uint64(1), LogTerm: proto.Uint64(1), Index: proto.Uint64(index - 1),
		Commit: proto.Uint64(index - 1),
		Entries: []*raftpb.Entry{{Type: raftpb.EntryNormal.Enum(), Term: proto.Uint64(1), Index: proto.Uint64(index),
			Data: make([]byte, size)}}}
}

func fileOf(dir string, index uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x.snap.db", index))
}
