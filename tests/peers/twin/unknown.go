package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"keelson.dev/tests/peers/internal/cluster"
)

// A write whose answer was lost with a leader, or did not come in time: nobody knows whether it was applied, and it may
// still be. Both sides are read. If only one has it, the keys it touches are deleted at both, both are compacted, and
// the history goes on with the offset between their revisions noted. If the subject has more than the history explains,
// it must be such a write that came late: a ghost. Anything else is a difference.

// unknown: the answer does not say what came of the request.
func (a answer) unknown() bool {
	if a.status == nil {
		return false
	}
	switch a.status.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	}
	return strings.Contains(a.status.Message(), "raft proposal dropped")
}

// writes: it changes something, if it is not refused.
func (a action) writes() bool {
	switch r := a.request.(type) {
	case *pb.PutRequest, *pb.DeleteRangeRequest, *pb.CompactionRequest, *pb.LeaseRevokeRequest, *pb.LeaseGrantRequest:
		return true
	case *pb.AlarmRequest:
		return r.Action != pb.AlarmRequest_GET
	case *pb.TxnRequest:
		return slices.ContainsFunc(slices.Concat(r.Success, r.Failure), func(op *pb.RequestOp) bool {
			return op.GetRequestPut() != nil || op.GetRequestDeleteRange() != nil ||
				(op.GetRequestTxn() != nil && action{request: op.GetRequestTxn()}.writes())
		})
	}
	return false
}

// touches says whether the request may change the key. `lease` is the one the key hangs on.
func touches(request proto.Message, key []byte, lease int64) bool {
	switch r := request.(type) {
	case *pb.PutRequest:
		return bytes.Equal(r.Key, key)
	case *pb.DeleteRangeRequest:
		return inRange(key, r.Key, r.RangeEnd)
	case *pb.LeaseRevokeRequest:
		return lease == r.ID
	case *pb.TxnRequest:
		return slices.ContainsFunc(slices.Concat(r.Success, r.Failure), func(op *pb.RequestOp) bool {
			switch {
			case op.GetRequestPut() != nil:
				return touches(op.GetRequestPut(), key, lease)
			case op.GetRequestDeleteRange() != nil:
				return touches(op.GetRequestDeleteRange(), key, lease)
			case op.GetRequestTxn() != nil:
				return touches(op.GetRequestTxn(), key, lease)
			}
			return false
		})
	}
	return false
}

// leaseOf is the lease that the action is about; 0: none.
func (a action) leaseOf() int64 {
	switch r := a.request.(type) {
	case *pb.LeaseGrantRequest:
		return r.ID
	case *pb.LeaseRevokeRequest:
		return r.ID
	}
	return a.id
}

// know makes an answer known if that can be done by asking again. Settled: it could not, and the sides agree again.
func (x *execution) know(a action, do func(*side) answer, answers [2]answer) (got answer, settled bool) {
	got = answers[1]
	if x.crew == nil || !got.unknown() || proto.Equal(got.status.Proto(), answers[0].status.Proto()) {
		return got, false
	}
	x.crew.tell("  m%d: unknown: %v", x.sides[1].at, got)
	x.crew.count["unknown outcomes"]++
	if x.crew.trouble == nil {
		x.crew.count["unknown outcomes without trouble"]++
	}
	if !a.writes() {
		return x.askUntilKnown(a, do), false
	}
	x.heal()
	x.sides[1].deadline = patience
	if a.kind == "expire" {
		x.afterExpiry(a.leaseOf())
		return got, true
	}
	switch a.request.(type) {
	case *pb.CompactionRequest, *pb.LeaseGrantRequest, *pb.LeaseRevokeRequest, *pb.AlarmRequest:
		x.repeat(a, do, answers[0]) // twice is as good as once
	}
	if found := x.align(a, true); found != nil {
		panic(stopped{found})
	}
	x.learn(a, answers[0])
	return got, true
}

func (x *execution) askUntilKnown(a action, do func(*side) answer) (got answer) {
	err := cluster.Until(x.ctx, "a read is answered", func(context.Context) error {
		x.goElsewhere()
		x.catchUp()
		if got = do(x.sides[1]); got.unknown() {
			return errors.New(got.String())
		}
		return nil
	})
	if err != nil {
		x.differ("reading", "an answer in the end", err.Error())
	}
	return got
}

// What the second of two equal requests may be told, the first having been granted.
var alreadyDone = map[string]bool{"etcdserver: lease already exists": true, "etcdserver: requested lease not found": true,
	"etcdserver: mvcc: required revision has been compacted": true}

func (x *execution) repeat(a action, do func(*side) answer, oracle answer) {
	again := x.askUntilKnown(a, do)
	if proto.Equal(again.status.Proto(), oracle.status.Proto()) || (oracle.ok() && alreadyDone[again.status.Message()]) {
		return
	}
	panic(stopped{&Difference{kind: a.method + ": status when repeated", action: a.String(), oracle: oracle.String(),
		subject: again.String()}})
}

// state is all that one side holds.
type state struct {
	revision int64
	raw      int64 // as that side counts
	kvs      map[string]*mvccpb.KeyValue
	leases   map[int64]bool
	alarms   []*pb.AlarmMember
}

// read asks for everything, until it is known.
func (x *execution) read(s *side) *state {
	var alarms, all, leases answer
	err := cluster.Until(x.ctx, "everything is read", func(context.Context) error {
		for _, each := range []struct {
			into    *answer
			method  string
			request proto.Message
		}{{&alarms, "Maintenance/Alarm", &pb.AlarmRequest{}},
			{&all, "KV/Range", &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}},
			{&leases, "Lease/LeaseLeases", &pb.LeaseLeasesRequest{}}} {
			*each.into = s.invoke(each.method, each.request, nil)
			if m, ok := each.into.message.(*pb.AlarmResponse); ok && len(m.Alarms) > 0 {
				for _, raised := range m.Alarms { // a corrupt one forbids reading
					s.invoke("Maintenance/Alarm", &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE,
						MemberID: raised.MemberID, Alarm: raised.Alarm}, nil)
				}
				return fmt.Errorf("%v", m)
			}
			if !each.into.ok() {
				return errors.New(each.into.String())
			}
		}
		return nil
	})
	if err != nil {
		x.differ("reading everything", "it can be read", s.name+": "+err.Error())
	}
	m := all.message.(*pb.RangeResponse)
	read := &state{raw: m.Header.Revision, kvs: map[string]*mvccpb.KeyValue{}, leases: map[int64]bool{}}
	s.told(m)
	read.revision = m.Header.Revision
	for _, kv := range m.Kvs {
		read.kvs[string(kv.Key)] = kv
	}
	for _, lease := range leases.message.(*pb.LeaseLeasesResponse).Leases {
		read.leases[lease.ID] = true
	}
	return read
}

// apart lists the keys and the leases in which two states differ.
func apart(a, b *state) (keys []string, leases []int64) {
	all := maps.Clone(a.kvs)
	maps.Copy(all, b.kvs)
	for key := range all {
		if one, other := a.kvs[key], b.kvs[key]; one == nil || other == nil || !proto.Equal(one, other) {
			keys = append(keys, key)
		}
	}
	every := maps.Clone(a.leases)
	maps.Copy(every, b.leases)
	for id := range every {
		if a.leases[id] != b.leases[id] {
			leases = append(leases, id)
		}
	}
	slices.Sort(keys)
	slices.Sort(leases)
	return keys, leases
}

// align reads both sides after an action of unknown outcome, or one whose answers differ while there are ghosts, and
// lets them go on together. A difference if the action and the ghosts do not explain what is found.
// Lost: the subject may not have applied the action.
func (x *execution) align(a action, lost bool) *Difference {
	c := x.crew
	here, there := x.read(x.sides[0]), x.read(x.sides[1])
	keys, leases := apart(here, there)
	extra := there.revision - here.revision
	if extra == 0 && len(keys) == 0 && len(leases) == 0 {
		c.tell("  it is there, or nowhere: both at revision %d", here.revision)
		c.count["of these applied, or void"]++
		if here.revision == x.revision && lost { // it made none, so it cannot be told
			c.ghosts = append(c.ghosts, a)
		}
		x.revision = max(x.revision, here.revision)
		return nil
	}
	suspects := append(slices.Clone(c.ghosts), a)
	unexplained := fmt.Sprintf("revision %d more than the oracle's; keys that differ: %q, leases: %v", extra, keys, leases)
	wrong := func(why string) *Difference {
		detail := ""
		for _, key := range keys {
			detail += fmt.Sprintf("%q\n  oracle   %v\n  subject  %v\n", key, here.kvs[key], there.kvs[key])
		}
		return &Difference{kind: "unknown outcome: " + why, action: a.String(), oracle: "what is explained by unknown outcomes",
			subject: unexplained, detail: detail}
	}
	if extra > int64(len(suspects)) {
		return wrong("more has happened than can have")
	}
	if extra < -1 || (extra < 0 && !lost) {
		return wrong("something acknowledged has not happened")
	}
	if extra == 0 && len(keys) > 0 && (!lost || len(c.ghosts) == 0) {
		return wrong("something has happened otherwise")
	}
	for _, key := range keys {
		if !slices.ContainsFunc(suspects, func(s action) bool {
			for _, kv := range []*mvccpb.KeyValue{here.kvs[key], there.kvs[key]} {
				if touches(s.request, []byte(key), kv.GetLease()) || (kv.GetLease() != 0 && kv.GetLease() == s.leaseOf()) {
					return true
				}
			}
			return false
		}) {
			return wrong("a key that it does not touch")
		}
	}
	for _, id := range leases {
		if !slices.ContainsFunc(suspects, func(s action) bool { return s.leaseOf() == id }) {
			return wrong("a lease that it does not touch")
		}
	}
	c.tell("  only one has it: %s", unexplained)
	if extra > 0 {
		c.count["of these late"]++
	} else {
		c.count["of these lost"]++
		c.ghosts = append(c.ghosts, a)
	}
	x.goOnFrom(keys, leases)
	return nil
}

// goOnFrom deletes at both sides what is apart, and begins anew from there: the past is compacted, watchers are gone.
func (x *execution) goOnFrom(keys []string, leases []int64) {
	var here, there *state
	err := cluster.Until(x.ctx, "both sides agree again", func(context.Context) error {
		for _, s := range x.sides {
			for _, id := range leases {
				s.invoke("Lease/LeaseRevoke", &pb.LeaseRevokeRequest{ID: id}, nil)
			}
			// Some revisions that nothing keeps, then one from which both are the same.
			s.invoke("KV/Put", &pb.PutRequest{Key: []byte("new start")}, nil)
			for _, key := range append(keys, "new start") {
				s.invoke("KV/DeleteRange", &pb.DeleteRangeRequest{Key: []byte(key)}, nil)
			}
			s.invoke("KV/Put", &pb.PutRequest{Key: []byte("new start")}, nil)
		}
		here, there = x.read(x.sides[0]), x.read(x.sides[1])
		var left []string
		left, leases = apart(here, there)
		keys = slices.DeleteFunc(left, func(key string) bool { return key == "new start" })
		one, other := here.kvs["new start"], there.kvs["new start"]
		if len(keys) > 0 || len(leases) > 0 || one.GetVersion() != 1 || other.GetVersion() != 1 {
			return fmt.Errorf("keys %q, leases %v, start %v and %v", keys, leases, one, other)
		}
		return nil
	})
	if err != nil {
		x.differ("going on", "equal states", err.Error())
	}
	x.sides[1].offsets.add(offset{here.revision, there.raw})
	x.revision, x.compacted, x.compacting = here.revision, here.revision, false
	x.leases, x.hurried[x.compacted] = here.leases, true
	for i, s := range x.sides {
		revision := []int64{here.raw, there.raw}[i]
		got := s.invoke("KV/Compact", &pb.CompactionRequest{Revision: revision, Physical: true}, nil)
		if !got.ok() && got.status.Message() != "etcdserver: mvcc: required revision has been compacted" && !got.unknown() {
			x.differ("going on", "a compaction", s.name+": "+got.String())
		}
		if got.unknown() {
			x.repeat(action{kind: "call", method: "KV/Compact", request: &pb.CompactionRequest{}}, func(s *side) answer {
				return s.invoke("KV/Compact", &pb.CompactionRequest{Revision: revision, Physical: true}, nil)
			}, answer{status: status.New(codes.OK, "")})
		}
	}
	x.crew.count["offsets"]++
	x.crew.tell("  both go on: revision %d is the subject's %d", here.revision, there.raw)
	for _, stream := range x.openStreams() {
		x.dropStream(stream)
	}
	for _, s := range x.sides {
		s.reference.cancel()
		s.reference = nil
	}
	x.referenceCompared = 0
	x.openReference()
}

// explained: the difference came of a write that was thought lost, and the sides agree again.
func (x *execution) explained(a action, found *Difference) bool {
	if x.crew == nil || len(x.crew.ghosts) == 0 {
		return false
	}
	x.crew.tell("a difference; is it a ghost? %v", found)
	before := x.crew.count["offsets"]
	x.heal()
	worse := x.align(a, false)
	if worse != nil {
		x.crew.tell("no: %v", worse)
	}
	return worse == nil && x.crew.count["offsets"] > before
}

// afterExpiry waits until the lease has gone at both sides, wherever that was interrupted, and goes on from there.
func (x *execution) afterExpiry(id int64) {
	var here, there *state
	err := cluster.Until(x.ctx, "the lease ends at both", func(context.Context) error {
		here, there = x.read(x.sides[0]), x.read(x.sides[1])
		if here.leases[id] || there.leases[id] {
			return fmt.Errorf("lease %d is there: %v, %v", id, here.leases[id], there.leases[id])
		}
		return nil
	})
	if err != nil {
		x.differ("expiry", "an end", err.Error())
	}
	x.goOnFrom(apart(here, there))
}

// finishCrew looks at every member by itself.
func (x *execution) finishCrew() {
	x.crew.plotted = nil
	x.heal()
	c, s := x.crew, x.sides[1]
	all := x.read(s)
	floor := max(0, s.offsets.there(x.compacted)) + 1
	for i := range int64(40) {
		if revision := floor + (all.raw-floor)*i/40; revision <= all.raw {
			x.ownHashes(revision)
		}
	}
	for i, m := range c.members {
		s.at = i
		x.catchUp()
		got := x.read(s)
		if keys, leases := apart(all, got); len(keys) > 0 || len(leases) > 0 {
			x.differ("the end", "members that are alike", fmt.Sprintf("%s: keys %q, leases %v", m.Name, keys, leases))
		}
	}
}

// ownHashes asks all members of the subject for the hash of one revision, in its own count. They must agree.
func (x *execution) ownHashes(revision int64) {
	c, s := x.crew, x.sides[1]
	if c.trouble != nil {
		return
	}
	var first answer
	for i, m := range c.members {
		s.at = i
		x.catchUp()
		got := s.invoke("Maintenance/HashKV", &pb.HashKVRequest{Revision: revision}, nil)
		if got.unknown() {
			return
		}
		if got.message != nil {
			s.told(got.message)
		}
		if i == 0 {
			first = got
			continue
		}
		a, _ := first.message.(*pb.HashKVResponse)
		b, _ := got.message.(*pb.HashKVResponse)
		if !proto.Equal(first.status.Proto(), got.status.Proto()) || (a != nil && !proto.Equal(a, b)) {
			x.differ("HashKV among members", fmt.Sprintf("%s: %v", c.members[0].Name, first),
				fmt.Sprintf("%s: %v", m.Name, got))
		}
	}
	c.count["hashes of all members"]++
}
