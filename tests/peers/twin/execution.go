package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// action is one thing done at both servers. The grammar makes them; they replay as they are.
type action struct {
	kind     string // see execution.do
	method   string // of a call
	request  proto.Message
	metadata []string
	stream   int
	id       int64
}

func (a action) String() string {
	text := a.kind
	switch a.kind {
	case "call":
		text = a.method
	case "watch", "cancel", "progress", "close", "half-close":
		text = fmt.Sprintf("%s on stream %d", a.kind, a.stream)
	}
	if a.kind == "cancel" || a.kind == "keepalive" || a.kind == "expire" {
		text += fmt.Sprintf(" id %d", a.id)
	}
	if a.request != nil {
		text += " " + show(a.request)
	}
	if len(a.metadata) > 0 {
		text += " with " + strings.Join(a.metadata, " ")
	}
	return text
}

// execution drives the two servers through one history, one action at a time, and keeps what it learned
// from the oracle's answers: the grammar draws on it, and the watches are judged by it.
type execution struct {
	sides [2]*side // oracle, subject
	asked services
	trace func(string)
	done  []action       // what was executed, for a replay
	seen  map[string]int // answers by request and status, for -coverage

	revision        int64          // the store's, by the latest header
	compacted       int64          // -1: never
	compactedAtZero bool           // see `ignored`
	hurried         map[int64]bool // compactions, and whether their hash may be kept or not, see `ignored`
	compacting      bool           // a compaction may be deleting in the background
	leases          map[int64]bool

	ctx           context.Context
	crew          *crew // of the subject; nil: it is one member
	referenceDoor int   // the member that tells the subject's watcher of everything

	watchers          []*watcher
	controls          map[int]int // answers taken so far, by stream
	halfClosed        map[int]bool
	referenceCompared int
}

// stopped carries a difference out of the middle of an action.
type stopped struct{ found *Difference }

func newExecution(oracle, subject *side, asked services) *execution {
	return &execution{sides: [2]*side{oracle, subject}, crew: subject.crew, asked: asked, revision: 1, compacted: -1,
		seen: map[string]int{}, leases: map[int64]bool{}, hurried: map[int64]bool{}, controls: map[int]int{}, halfClosed: map[int]bool{}}
}

func (x *execution) differ(kind, oracle, subject string) {
	panic(stopped{&Difference{kind: kind, action: x.last(), oracle: oracle, subject: subject}})
}

func (x *execution) differAnswers(kind, what string, oracle, subject proto.Message) {
	panic(stopped{&Difference{kind: kind, action: x.last(), oracle: what + ": " + show(oracle), subject: show(subject)}})
}

func (x *execution) last() string {
	if len(x.done) == 0 {
		return "the start"
	}
	return x.done[len(x.done)-1].String()
}

func (x *execution) compare(a action, answers [2]answer) {
	where := a.kind
	if a.kind == "call" {
		where = a.method
	}
	text := "ok"
	if status := answers[0].status; status != nil && status.Code() != 0 {
		text = status.Message()
	}
	if m, ok := answers[0].message.(*pb.RangeResponse); ok && len(m.Kvs) > 0 {
		text = "ok, with keys"
	}
	x.seen[where+": "+text]++
	if found := difference(where, a, answers); found != nil {
		found.detail += x.askAgain(a)
		panic(stopped{found})
	}
}

// askAgain tells of a read that differs whether it still does, and who changed its mind: what was overtaken by
// something in the background agrees in the end.
func (x *execution) askAgain(a action) string {
	if a.kind != "call" {
		return ""
	}
	switch a.request.(type) {
	case *pb.RangeRequest, *pb.HashKVRequest, *pb.HashRequest, *pb.StatusRequest:
	default:
		return ""
	}
	text := ""
	for _, wait := range []time.Duration{0, 100 * time.Millisecond, 3 * time.Second} {
		time.Sleep(wait)
		again := x.askBoth(func(s *side) answer { return s.unary(a.method, a.request, a.metadata) })
		text += fmt.Sprintf("\nagain after %v: %v and %v", wait, again[0], again[1])
	}
	return text
}

// eachSide does the same at both servers at once.
func (x *execution) eachSide(do func(*side) error) {
	x.ask(func(s *side) answer {
		if err := do(s); err != nil {
			return answer{message: &pb.WatchResponse{CancelReason: err.Error()}}
		}
		return answer{}
	}, func(i int, a answer) {
		if a.message != nil {
			x.differ(x.done[len(x.done)-1].kind, "no error", fmt.Sprintf("%s: %v", x.sides[i].name, a.message))
		}
	})
}

func (x *execution) ask(do func(*side) answer, judge func(int, answer)) {
	answers := x.askBoth(do)
	for i, a := range answers {
		judge(i, a)
	}
}

func (x *execution) askBoth(do func(*side) answer) (answers [2]answer) {
	var both sync.WaitGroup
	for i, s := range x.sides {
		both.Go(func() { answers[i] = do(s) })
	}
	both.Wait()
	return answers
}

// service is the one that an action needs; empty: none.
func (a action) service() string {
	switch a.kind {
	case "call":
		name, _ := splitMethod(a.method)
		return name
	case "stream":
		return "KV"
	case "keepalive", "grant-any", "expire":
		return "Lease"
	case "sync", "watch", "cancel", "progress", "close", "half-close":
		return "Watch"
	}
	return ""
}

// What the subject does not have yet, so that the history does not ask for it.
func notThereYet(method string) bool {
	switch method {
	case "Cluster/MemberAdd", "Cluster/MemberRemove", "Cluster/MemberUpdate", "Cluster/MemberPromote",
		"Maintenance/MoveLeader", "Maintenance/Downgrade":
		return true
	}
	return strings.HasPrefix(method, "Auth/")
}

// killsOracle: a compaction exactly at a revision that deletes a key and puts it again (a delete from a key on does
// that, see deletesFromKey). etcd keeps the tombstone, drops the put, and dies at the next read of the key.
func (x *execution) killsOracle(request proto.Message) bool {
	r, ok := request.(*pb.CompactionRequest)
	if !ok {
		return false
	}
	if x.asked.has("Watch") {
		x.sync()
	}
	deleted := map[string]bool{}
	for _, event := range x.referenceEvents()[x.referenceUpTo(r.Revision):] {
		if event.Kv.ModRevision != r.Revision {
			break
		}
		if event.Type == mvccpb.Event_DELETE {
			deleted[string(event.Kv.Key)] = true
		} else if deleted[string(event.Kv.Key)] {
			return true
		}
	}
	return false
}

// do executes one action and returns the oracle's answer.
func (x *execution) do(a action) answer {
	if needed := a.service(); needed != "" && !x.asked.has(needed) {
		return answer{}
	}
	if x.sides[1].config.Bin != x.sides[0].config.Bin && notThereYet(a.method) {
		return answer{}
	}
	if x.killsOracle(a.request) {
		return answer{}
	}
	if r, ok := a.request.(*pb.HashKVRequest); ok && x.hurried[r.Revision] {
		return answer{}
	}
	if x.crew != nil && !x.enter(a) {
		return answer{}
	}
	x.done = append(x.done, a)
	if x.trace != nil {
		x.trace(a.String())
	}
	got, found := x.attempt(a)
	if found != nil && !x.explained(a, found) {
		panic(stopped{found})
	}
	return got
}

// differenceIn is what a panic carries. One that carries no difference is a mistake in this program and goes on.
func differenceIn(problem any) *Difference {
	difference, ok := problem.(stopped)
	if !ok {
		panic(problem)
	}
	return difference.found
}

// attempt executes an action; a difference is returned.
func (x *execution) attempt(a action) (got answer, found *Difference) {
	defer func() {
		if problem := recover(); problem != nil {
			found = differenceIn(problem)
		}
	}()
	return x.perform(a), nil
}

func (x *execution) perform(a action) answer {
	switch a.kind {
	case "call":
		return x.call(a)
	case "stream": // RangeStream
		return x.compared(a, func(s *side) answer { return s.rangeStream(a.request.(*pb.RangeRequest)) })
	case "keepalive":
		return x.compared(a, func(s *side) answer { return s.keepAlive(a.id) })
	case "grant-any":
		x.grantAny(a)
	case "expire":
		x.expire(a)
	case "sync":
		x.sync()
	case "restart":
		x.restart()
	case "watch", "cancel", "progress", "close", "half-close":
		x.watch(a)
	default:
		panic("not an action: " + a.kind)
	}
	return answer{}
}

// watch leaves out what no longer applies: a shrunk history may have lost the stream's first request.
func (x *execution) watch(a action) {
	if x.halfClosed[a.stream] && a.kind != "close" {
		return
	}
	if a.kind == "watch" {
		x.watchCreate(a)
		return
	}
	if x.sides[0].streams[a.stream] == nil {
		return
	}
	switch a.kind {
	case "cancel":
		x.watchCancel(a)
	case "progress":
		x.watchProgress(a)
	case "close":
		x.watchClose(a.stream)
	case "half-close":
		x.watchHalfClose(a.stream)
	}
}

func (x *execution) compared(a action, do func(*side) answer) answer {
	answers := x.askBothAmid(a, do)
	if x.crew != nil {
		x.crew.tell("m%d  %s: %s", x.sides[1].at, short(a.String()), short(answers[1].String()))
		var settled bool
		if answers[1], settled = x.know(a, do, answers); settled {
			return answers[0]
		}
	}
	answers[0] = x.onceCompacted(a, do, answers)
	x.compare(a, answers)
	x.learn(a, answers[0])
	return answers[0]
}

// onceCompacted is the oracle's answer, asked for anew where a compaction was under way and the sides differ: etcd's
// HashKV then answers, now and again, what it does not answer before and after. The subject is held to what it said.
func (x *execution) onceCompacted(a action, do func(*side) answer, answers [2]answer) answer {
	if _, hashes := a.request.(*pb.HashKVRequest); !hashes || !x.compacting || difference(a.method, a, answers) == nil {
		return answers[0]
	}
	x.awaitCompaction()
	return do(x.sides[0])
}

func (x *execution) call(a action) answer {
	switch r := a.request.(type) {
	case *pb.CompactionRequest:
		x.beforeCompaction(r.Revision)
	case *pb.HashRequest:
		x.awaitCompaction()
	case *pb.HashKVRequest:
		if r.Revision == 0 && x.compactedAtZero {
			r.Revision = x.revision
		}
		if r.Revision == x.compacted || x.revision == x.compacted {
			x.awaitCompaction()
		}
		if x.crew != nil {
			if _, kept := x.hurried[r.Revision]; kept || x.revision == x.compacted {
				return answer{} // a compaction's own hash is kept in memory: a member that was killed has it no more
			}
			x.ownHashes(x.sides[1].offsets.there(r.Revision))
			if x.crew.count["offsets"] > 0 {
				return answer{}
			}
		}
	case *pb.StatusRequest:
		if x.crew != nil {
			break
		}
		x.eachSide(func(s *side) error { return s.settle() })
	}
	got := x.compared(a, func(s *side) answer { return s.unary(a.method, a.request, a.metadata) })
	if r, grants := a.request.(*pb.LeaseGrantRequest); grants && r.TTL < shortTTL {
		x.call(action{kind: "call", method: "Lease/LeaseRevoke", request: &pb.LeaseRevokeRequest{ID: r.ID}})
	}
	return got
}

// A lease granted for less than this is revoked at once, or it would end at its own moment.
const shortTTL = 1000

// awaitCompaction uses that a physical compaction below the compact revision fails only after the one
// under way is done.
func (x *execution) awaitCompaction() {
	if x.compacting {
		x.call(action{kind: "call", method: "KV/Compact",
			request: &pb.CompactionRequest{Revision: max(0, x.compacted), Physical: true}})
		x.compacting = false
	}
}

// learn takes from the oracle's answer what the history builds on.
func (x *execution) learn(a action, got answer) {
	if got.message == nil || !got.ok() {
		return
	}
	if field := got.message.ProtoReflect().Descriptor().Fields().ByName("header"); field != nil {
		header, _ := got.message.ProtoReflect().Get(field).Message().Interface().(*pb.ResponseHeader)
		x.revision = max(x.revision, header.GetRevision())
	}
	switch r := a.request.(type) {
	case *pb.CompactionRequest:
		x.compactedAtZero = x.compactedAtZero || r.Revision == 0
		x.compacted = max(x.compacted, r.Revision)
		x.hurried[r.Revision] = x.compacting
		x.compacting = !r.Physical
	case *pb.LeaseGrantRequest:
		if m, ok := got.message.(*pb.LeaseGrantResponse); ok {
			x.leases[m.ID] = true
		}
	case *pb.LeaseRevokeRequest:
		delete(x.leases, r.ID)
	}
}

// grantAny lets the servers pick the id; it lives just long enough to be seen.
func (x *execution) grantAny(a action) {
	x.ask(func(s *side) answer {
		granted := s.unary("Lease/LeaseGrant", a.request, nil)
		if !granted.ok() {
			return granted
		}
		m := granted.message.(*pb.LeaseGrantResponse)
		if m.ID <= 0 || m.Error != "" {
			return granted
		}
		return s.unary("Lease/LeaseRevoke", &pb.LeaseRevokeRequest{ID: m.ID}, nil)
	}, func(i int, got answer) {
		if _, revoked := got.message.(*pb.LeaseRevokeResponse); !revoked {
			x.differ("grant of any lease", "a positive id that can be revoked", x.sides[i].name+": "+got.String())
		}
	})
}

// expire grants a short lease, hangs keys on it and waits until it is gone at both servers.
func (x *execution) expire(a action) {
	x.compared(action{kind: "expire", request: &pb.LeaseGrantRequest{TTL: 2, ID: a.id}}, func(s *side) answer {
		got := s.unary("Lease/LeaseGrant", &pb.LeaseGrantRequest{TTL: 2, ID: a.id}, nil)
		if !got.ok() {
			return got
		}
		txn := a.request.(*pb.TxnRequest)
		if got = s.unary("KV/Txn", txn, nil); !got.ok() {
			return got
		}
		deadline := time.Now().Add(30 * time.Second)
		for time.Now().Before(deadline) {
			got = s.unary("Lease/LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: a.id}, nil)
			if got.ok() && got.message.(*pb.LeaseTimeToLiveResponse).TTL == -1 {
				return s.unary("KV/Range", &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}, nil)
			}
			time.Sleep(20 * time.Millisecond)
		}
		return got
	})
	delete(x.leases, a.id)
}

// restart kills both servers; what they come back with must agree as before. Streams end with them.
func (x *execution) restart() {
	if x.asked.has("Watch") {
		x.sync()
	}
	x.awaitCompaction()
	x.eachSide((*side).restart)
	x.watchers = nil
	for revision := range x.hurried {
		x.hurried[revision] = true
	}
	x.compactedAtZero = false // the hashes of compactions live in memory
	clear(x.controls)
	clear(x.halfClosed)
	x.openReference()
}

// play executes a history on fresh connections; it returns the first difference, or nil.
func (x *execution) play(ctx context.Context, steps int, step func(i int)) (found *Difference) {
	defer func() {
		if problem := recover(); problem != nil {
			found = differenceIn(problem)
			for _, s := range x.sides {
				if s.crew != nil {
					found.detail += s.crew.story()
					continue
				}
				select {
				case <-s.server.Exited():
					found.detail += fmt.Sprintf("\n%s has ended:\n%s", s.name, s.server.LogTail(30))
				default:
				}
			}
		}
	}()
	x.ctx = ctx
	x.openReference()
	for i := range steps {
		if ctx.Err() != nil {
			return nil
		}
		step(i)
	}
	if x.crew != nil {
		x.finishCrew()
	}
	x.finish()
	return nil
}

// finish compares everything once more, as a whole.
func (x *execution) finish() {
	x.do(action{kind: "sync"})
	for _, stream := range slices.Sorted(maps.Keys(x.sides[0].streams)) {
		x.do(action{kind: "progress", stream: stream})
	}
	x.do(action{kind: "call", method: "KV/Range", request: &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}})
	x.do(action{kind: "call", method: "Lease/LeaseLeases", request: &pb.LeaseLeasesRequest{}})
	x.do(action{kind: "call", method: "Maintenance/HashKV", request: &pb.HashKVRequest{}})
	x.do(action{kind: "call", method: "Maintenance/Hash", request: &pb.HashRequest{}})
	x.do(action{kind: "call", method: "Maintenance/Status", request: &pb.StatusRequest{}})
}

// withUnknownField adds a field that no version knows: it must be carried or dropped, never refused.
func withUnknownField(m proto.Message) proto.Message {
	m.ProtoReflect().SetUnknown(protoreflect.RawFields{0xc0, 0x3e, 0x05}) // field 1000, varint 5
	return m
}
