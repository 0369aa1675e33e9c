// Anotherpast gives a member that is down another past: every put of a key in its log, and so in its data, has had
// another value ever since. Of either kind of server, for both have the same log; its data is made again from it.
//
// Usage: anotherpast DATA-DIR KEY. The log must reach back to the beginning.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: anotherpast DATA-DIR KEY")
		os.Exit(2)
	}
	if err := run(filepath.Join(os.Args[1], "member"), os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "anotherpast:", err)
		os.Exit(1)
	}
}

func run(member, key string) error {
	dir := filepath.Join(member, "wal")
	old, err := wal.OpenForRead(zap.NewNop(), dir, &walpb.Snapshot{})
	if err != nil {
		return err
	}
	defer old.Close()
	metadata, state, entries, err := old.ReadAll()
	if err != nil {
		return err
	}
	changed := 0
	for _, entry := range entries {
		ok, err := change(entry, key)
		if err != nil {
			return err
		}
		if ok {
			changed++
		}
	}
	if changed == 0 {
		return errors.New("no put of that key")
	}
	// The data: ours, etcd's.
	for _, path := range []string{dir, filepath.Join(member, "store"), filepath.Join(member, "snap")} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	rewritten, err := wal.Create(zap.NewNop(), dir, metadata)
	if err != nil {
		return err
	}
	if err := rewritten.Save(state, entries); err != nil {
		return err
	}
	return rewritten.Close()
}

func change(entry *raftpb.Entry, key string) (bool, error) {
	if entry.GetType() != raftpb.EntryNormal || len(entry.Data) == 0 {
		return false, nil
	}
	var request pb.InternalRaftRequest
	if err := proto.Unmarshal(entry.Data, &request); err != nil {
		return false, err
	}
	if request.Put == nil || string(request.Put.Key) != key {
		return false, nil
	}
	request.Put.Value = append(request.Put.Value, '!')
	data, err := proto.Marshal(&request)
	entry.Data = data
	return true, err
}
