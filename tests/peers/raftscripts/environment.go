package main

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cockroachdb/datadriven"
	"google.golang.org/protobuf/proto"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/rafttest"
)

// An environment answers the commands of one script: those that package rafttest knows, and a few more that the
// runner of our scripts (src/raft/interaction_test.h) knows too.
type environment struct {
	*rafttest.InteractionEnv
	adding  datadriven.TestData // the add-nodes that is being run, for options rafttest has not
	limited bool                // by the size of entries
}

func newEnvironment() *environment {
	e := &environment{}
	e.InteractionEnv = rafttest.NewInteractionEnv(&rafttest.InteractionOpts{
		OnConfig:                     e.configure,
		SetRandomizedElectionTimeout: setRandomizedElectionTimeout,
	})
	return e
}

// run answers a command: a directive, and its input on further lines. An error says that etcd's raft panicked: it
// has no answer, and nothing can be asked any more.
func (e *environment) run(command string) (output string, err error) {
	line, input, _ := strings.Cut(command, "\n")
	d := datadriven.TestData{Input: strings.TrimSpace(input)}
	if d.Cmd, d.CmdArgs, err = datadriven.ParseLine(line); err != nil {
		return "", err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		output = e.answer(d)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		return "", fmt.Errorf("no end in sight")
	}
	if err == nil && e.limited && strings.Contains(output, "ignoring conf change") {
		// What etcd's raft appends in its place spells out that it is a normal entry, which makes it two bytes longer.
		err = errors.New("sizes may differ from here on")
	}
	if err == nil && output != "" && !strings.HasSuffix(output, "\n") {
		output += "\n"
	}
	return output, err
}

func (e *environment) answer(d datadriven.TestData) string {
	if d.Cmd == "add-nodes" {
		e.adding = d
	}
	extra := map[string]func(datadriven.TestData) error{
		"read-index":      e.readIndex,
		"report-snapshot": e.reportSnapshot,
		"restart":         e.restart,
		"adopt-snapshot":  e.adoptSnapshot,
		"duplicate-msgs":  e.duplicateMessages,
		"reverse-msgs":    e.reverseMessages,
	}[d.Cmd]
	if d.Cmd == "send-snapshot" {
		// Who does not lead sends none, or two nodes take each other for the leader and forward to and fro for ever.
		n := &e.Nodes[ids(d)[0]-1]
		if !leads(n) && n.BasicStatus().GetTerm() > 0 {
			panic("not by a follower")
		}
	}
	if extra == nil {
		return e.Handle(&testing.T{}, d)
	}
	e.Output.Reset()
	if err := extra(d); err != nil {
		return err.Error()
	}
	if e.Output.Len() == 0 {
		return "ok"
	}
	return e.Output.String()
}

func (e *environment) configure(config *raft.Config) {
	d := e.adding
	size := func(key string, into *uint64) {
		for _, arg := range d.CmdArgs {
			if arg.Key == key && len(arg.Vals) == 1 {
				*into, _ = strconv.ParseUint(arg.Vals[0], 10, 64)
			}
		}
	}
	size("max-uncommitted-size", &config.MaxUncommittedEntriesSize)
	size("max-inflight-bytes", &config.MaxInflightBytes)
	size("max-size-per-msg", &config.MaxSizePerMsg)
	e.limited = config.MaxSizePerMsg != math.MaxUint64 || config.MaxCommittedSizePerReady != 0
	for _, arg := range d.CmdArgs {
		if arg.Key == "disable-proposal-forwarding" {
			config.DisableProposalForwarding = slices.Equal(arg.Vals, []string{"true"})
		}
	}
}

func ids(d datadriven.TestData) (ids []uint64) {
	for _, arg := range d.CmdArgs {
		if len(arg.Vals) == 0 {
			id, _ := strconv.ParseUint(arg.Key, 10, 64)
			ids = append(ids, id)
		}
	}
	return ids
}

func (e *environment) readIndex(d datadriven.TestData) error {
	e.Nodes[ids(d)[0]-1].ReadIndex([]byte(d.CmdArgs[1].Key))
	return nil
}

func (e *environment) reportSnapshot(d datadriven.TestData) error {
	status := raft.SnapshotFinish
	for _, arg := range d.CmdArgs {
		if arg.Key == "failed" && slices.Equal(arg.Vals, []string{"true"}) {
			status = raft.SnapshotFailure
		}
	}
	e.Nodes[ids(d)[0]-1].ReportSnapshot(ids(d)[1], status)
	return nil
}

// durable returns a node's storage without rafttest's rule that its snapshot is the newest state.
func durable(n *rafttest.Node) rafttest.Storage {
	return reflect.ValueOf(n.Storage).FieldByName("Storage").Interface().(rafttest.Storage)
}

func snapshotOf(n *rafttest.Node) *pb.Snapshot {
	snapshot, err := durable(n).Snapshot()
	if err != nil {
		panic(err)
	}
	return pb.EnsureSnapshot(snapshot)
}

func newest(n *rafttest.Node) *pb.Snapshot { return n.History[len(n.History)-1] }

func index(s *pb.Snapshot) uint64 { return s.GetMetadata().GetIndex() }

// adoptSnapshot makes what a node was restored from its newest state; rafttest leaves that out.
func (e *environment) adoptSnapshot(d datadriven.TestData) error {
	n := &e.Nodes[ids(d)[0]-1]
	if snapshot := snapshotOf(n); index(snapshot) > index(newest(n)) {
		n.History = append(n.History, snapshot)
	}
	return nil
}

// takeMessages takes what is under way to a node from others.
func (e *environment) takeMessages(to uint64) (taken []*pb.Message) {
	e.Messages = slices.DeleteFunc(e.Messages, func(m *pb.Message) bool {
		take := m.GetTo() == to && m.GetFrom() != to && !raft.IsLocalMsgTarget(m.GetFrom())
		if take {
			taken = append(taken, m)
		}
		return take
	})
	return taken
}

// duplicateMessages lets everything under way to a node arrive twice, the second time behind all else.
func (e *environment) duplicateMessages(d datadriven.TestData) error {
	taken := e.takeMessages(ids(d)[0])
	e.Messages = append(e.Messages, taken...)
	for _, m := range taken {
		e.Messages = append(e.Messages, proto.Clone(m).(*pb.Message))
	}
	return nil
}

// reverseMessages lets what is under way to a node arrive last first.
func (e *environment) reverseMessages(d datadriven.TestData) error {
	taken := e.takeMessages(ids(d)[0])
	slices.Reverse(taken)
	e.Messages = append(e.Messages, taken...)
	return nil
}

// A restart finds the configuration of the state machine, which may be newer than that of the snapshot.
type restarted struct {
	rafttest.Storage
	conf *pb.ConfState
}

func (s restarted) InitialState() (*pb.HardState, *pb.ConfState, error) {
	hard, _, err := s.Storage.InitialState()
	return hard, s.conf, err
}

func (e *environment) restart(d datadriven.TestData) error {
	id := ids(d)[0]
	n := &e.Nodes[id-1]
	hard, _, err := n.Storage.InitialState()
	if err != nil {
		return err
	}
	for len(n.History) > 1 && index(newest(n)) > hard.GetCommit() {
		n.History = n.History[:len(n.History)-1]
	}
	kept := newest(n)
	if snapshot := snapshotOf(n); index(snapshot) > index(kept) {
		kept = snapshot
	}
	n.AppendWork, n.ApplyWork = nil, nil
	e.Messages = slices.DeleteFunc(e.Messages, func(m *pb.Message) bool {
		return m.GetTo() == id && (m.GetFrom() == id || raft.IsLocalMsgTarget(m.GetFrom()))
	})
	config := *n.Config
	config.Applied = index(kept)
	config.Storage = restarted{Storage: n.Storage, conf: pb.EnsureConfState(kept.GetMetadata().GetConfState())}
	node, err := raft.NewRawNode(&config)
	if err != nil {
		return err
	}
	n.RawNode, n.Config = node, &config
	return nil
}

// Of package raft itself only its own tests can do this.
func setRandomizedElectionTimeout(node *raft.RawNode, timeout int) {
	field := reflect.ValueOf(node).Elem().FieldByName("raft").Elem().FieldByName("randomizedElectionTimeout")
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().SetInt(int64(timeout))
}
