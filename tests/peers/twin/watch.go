package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// watchStream collects what one server says on one Watch stream, sorted into what the two servers must
// agree on: the control answers in order, and the events of each watcher in order. On the way it checks
// what every stream promises by itself; the first broken promise stays in `broken`.
type watchStream struct {
	client pb.Watch_WatchClient
	cancel context.CancelFunc
	twist  *twist
	told   func(proto.Message)

	mu          sync.Mutex
	changed     chan struct{} // closed and replaced with each response
	controls    []*pb.WatchResponse
	logs        map[int64]*eventLog // the watchers that have lived under each id: the latest
	progress    int                 // manual progress answers
	wantsPieces bool                // of the create request now under way: fragment
	ended       error
	broken      string
}

// eventLog is what one watcher was told.
type eventLog struct {
	events       []*mvccpb.Event
	openFragment bool              // the last response says that more of its revision follows
	compacted    *pb.WatchResponse // the end that a compaction set
	canceled     bool
	since        int64 // what was before the first event
	progress     int64 // everything up to here was already said, a progress answer claimed
	wantsPieces  bool
}

func (s *side) openWatch() (*watchStream, error) {
	ctx, cancel := context.WithCancel(s.ctx)
	client, err := pb.NewWatchClient(s.conn()).Watch(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	w := &watchStream{client: client, cancel: cancel, twist: s.twist, told: s.told, changed: make(chan struct{}),
		logs: map[int64]*eventLog{}}
	go w.receive()
	return w, nil
}

func (w *watchStream) receive() {
	for {
		response, err := w.client.Recv()
		if err == nil {
			w.told(response)
		}
		w.mu.Lock()
		if err != nil {
			w.ended = err
		} else {
			w.take(response)
		}
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (w *watchStream) hasEnded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended != nil
}

func (w *watchStream) take(r *pb.WatchResponse) {
	log := w.logs[r.WatchId]
	switch {
	case r.Created && r.Canceled:
		w.controls = append(w.controls, r)
	case r.Created:
		w.controls = append(w.controls, r)
		w.logs[r.WatchId] = &eventLog{wantsPieces: w.wantsPieces}
	case r.Canceled && r.CompactRevision != 0 && log != nil:
		log.compacted = r
	case r.Canceled:
		w.controls = append(w.controls, r)
		if log != nil {
			log.canceled = true
		}
	case len(r.Events) == 0 && r.WatchId == -1:
		w.progress++
		for _, each := range w.logs {
			w.takeProgress(each, r)
		}
	case log == nil:
		w.breaks("a response for watch id %d, which was never created: %v", r.WatchId, r)
	case len(r.Events) == 0:
		w.takeProgress(log, r)
	default:
		w.takeEvents(log, r)
	}
}

func (w *watchStream) takeProgress(log *eventLog, r *pb.WatchResponse) {
	if log.canceled {
		return
	}
	if n := len(log.events); n > 0 && log.events[n-1].Kv.ModRevision > r.Header.Revision {
		w.breaks("progress goes back: %v after an event of revision %d", r, log.events[n-1].Kv.ModRevision)
	}
	log.progress = max(log.progress, r.Header.Revision)
}

func (w *watchStream) takeEvents(log *eventLog, r *pb.WatchResponse) {
	first := r.Events[0].Kv.ModRevision
	if log.canceled || log.compacted != nil {
		w.breaks("events after the end of watch id %d: %v", r.WatchId, r)
	}
	if first <= log.progress {
		w.breaks("an event of revision %d after progress %d on watch id %d", first, log.progress, r.WatchId)
	}
	if r.Fragment && !log.wantsPieces {
		w.breaks("a fragment that nobody asked for on watch id %d", r.WatchId)
	}
	if n := len(log.events); n > 0 {
		last := log.events[n-1].Kv.ModRevision
		if first < last || (first == last && !log.openFragment) {
			w.breaks("revision %d torn or repeated on watch id %d, after %d", first, r.WatchId, last)
		}
	}
	if w.twist.is("watch", len(log.events) > 3 && r.Events[0].Kv.Version == 2) {
		return
	}
	log.events = append(log.events, r.Events...)
	log.openFragment = r.Fragment
}

func (w *watchStream) breaks(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
	}
}

// await polls a condition whenever something arrives; false if it does not hold in time. The condition
// runs under the stream's lock.
func (w *watchStream) await(within time.Duration, condition func() bool) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		w.mu.Lock()
		holds, ended, changed := condition(), w.ended != nil, w.changed
		w.mu.Unlock()
		if holds || ended {
			return holds
		}
		select {
		case <-changed:
		case <-timer.C:
			w.mu.Lock()
			defer w.mu.Unlock()
			return condition()
		}
	}
}

// watcher is a watcher as the history knows it, on both servers.
type watcher struct {
	stream    int
	id        int64
	request   *pb.WatchCreateRequest
	from      int64 // the first revision it may see
	scanned   int   // events of the reference already looked at
	target    int64 // the last revision it must be told of
	compared  int   // events already found equal
	overtaken bool  // started below the compact revision: must be ended by the server
	inStep    bool  // both servers are known to have caught it up
}

// wants says whether an event of the whole history is one for this watcher.
func (w *watcher) wants(event *mvccpb.Event) bool {
	if event.Kv.ModRevision < w.from {
		return false
	}
	for _, filter := range w.request.Filters {
		if int32(filter) == int32(event.Type) && filter <= pb.WatchCreateRequest_NODELETE {
			return false // NOPUT and PUT are both 0, NODELETE and DELETE both 1
		}
	}
	return inRange(event.Kv.Key, w.request.Key, w.request.RangeEnd)
}

func inRange(key, from, end []byte) bool {
	if len(from) == 0 {
		from = []byte{0}
	}
	switch {
	case len(end) == 0:
		return bytes.Equal(key, from)
	case len(end) == 1 && end[0] == 0:
		return bytes.Compare(key, from) >= 0
	}
	return bytes.Compare(key, from) >= 0 && bytes.Compare(key, end) < 0
}

const referenceId = 77

// openReference starts the watcher of everything that tells what the others must see. Where there was one before
// it goes on where that ended.
func (x *execution) openReference() {
	if !x.asked.has("Watch") {
		return
	}
	x.sides[1].at = x.referenceDoor
	for _, s := range x.sides {
		before, start := s.reference, x.revision+1
		if before != nil {
			before.cancel()
			before.mu.Lock()
			if last := before.logs[referenceId].last(); last > 0 {
				start = last + 1
			}
			before.mu.Unlock()
		}
		stream, err := s.openWatch()
		if err != nil {
			x.differ("watch", "a Watch stream opens", s.name+": "+err.Error())
		}
		s.reference = stream
		err = stream.client.Send(s.ask(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: start,
				WatchId: referenceId, PrevKv: true}}}).(*pb.WatchRequest))
		if err != nil || !stream.await(patience, func() bool { return len(stream.controls) == 1 }) {
			x.differ("watch", "a watcher of everything is created", fmt.Sprint(s.name, ": ", err))
		}
		stream.mu.Lock()
		stream.logs[referenceId].since = start - 1
		stream.mu.Unlock()
		if before != nil {
			stream.mu.Lock()
			log := stream.logs[referenceId]
			log.events = append(slices.Clone(before.logs[referenceId].events), log.events...)
			stream.mu.Unlock()
		}
	}
}

func (x *execution) watchCreate(a action) {
	request := a.request.(*pb.WatchCreateRequest)
	x.eachSide(func(s *side) error {
		if s.streams[a.stream] == nil {
			stream, err := s.openWatch()
			if err != nil {
				return err
			}
			s.streams[a.stream] = stream
		}
		stream := s.streams[a.stream]
		stream.mu.Lock()
		stream.wantsPieces = request.Fragment
		stream.mu.Unlock()
		return stream.client.Send(s.ask(
			&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}}).(*pb.WatchRequest))
	})
	control := x.nextControl(a)
	if control.Canceled {
		return
	}
	w := &watcher{stream: a.stream, id: control.WatchId, request: request, from: request.StartRevision,
		scanned: x.referenceUpTo(request.StartRevision)}
	if w.from == 0 {
		w.from = x.revision + 1
	}
	w.overtaken = w.from < x.compacted
	w.inStep = request.StartRevision == 0 || request.StartRevision > x.revision
	x.watchers = append(x.watchers, w)
}

// referenceUpTo is the place in the reference before which nothing has `revision` or more.
func (x *execution) referenceUpTo(revision int64) int {
	events := x.referenceEvents()
	return sort.Search(len(events), func(i int) bool { return events[i].Kv.ModRevision >= revision })
}

func (x *execution) referenceEvents() []*mvccpb.Event {
	stream := x.sides[0].reference
	if stream == nil {
		return nil
	}
	stream.mu.Lock()
	defer stream.mu.Unlock()
	return stream.logs[referenceId].events
}

// nextControl waits for one more created or canceled answer on the stream and compares it.
func (x *execution) nextControl(a action) *pb.WatchResponse {
	x.controls[a.stream]++
	n := x.controls[a.stream]
	var answers [2]answer
	for i, s := range x.sides {
		stream := s.streams[a.stream]
		if !stream.await(patience, func() bool { return len(stream.controls) >= n }) {
			x.differ("watch control", "an answer to "+a.String(), fmt.Sprintf("%s: none in %v (%v)",
				s.name, patience, stream.ended))
		}
		stream.mu.Lock()
		answers[i] = answer{message: stream.controls[n-1]}
		stream.mu.Unlock()
	}
	x.compare(a, answers)
	return answers[0].message.(*pb.WatchResponse)
}

func (x *execution) watchCancel(a action) {
	x.sync()
	x.catchUpAt(a.stream)
	x.eachSide(func(s *side) error {
		return s.streams[a.stream].client.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
			CancelRequest: &pb.WatchCancelRequest{WatchId: a.id}}})
	})
	at := slices.IndexFunc(x.watchers, func(w *watcher) bool { return w.stream == a.stream && w.id == a.id })
	if at < 0 {
		return // an unknown id: no answer, and one would be found in the place of the next
	}
	x.nextControl(a)
	x.watchers = slices.Delete(x.watchers, at, at+1)
}

// watchProgress asks for progress until it is answered, if an answer must come: each watcher of the stream
// is caught up, none was overtaken, none waits for the future. Being caught up takes a moment, and until
// then the request is dropped.
func (x *execution) watchProgress(a action) {
	x.sync()
	answered := false
	for _, w := range x.watchers {
		if w.stream == a.stream {
			answered = true
		}
	}
	for _, w := range x.watchers {
		if w.stream == a.stream && (w.overtaken || w.request.StartRevision > x.revision) {
			answered = false
		}
	}
	x.eachSide(func(s *side) error {
		stream := s.streams[a.stream]
		stream.mu.Lock()
		before := stream.progress
		stream.mu.Unlock()
		deadline := time.Now().Add(patience)
		for {
			err := stream.client.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
				ProgressRequest: &pb.WatchProgressRequest{}}})
			if err != nil || !answered {
				return err
			}
			if stream.await(30*time.Millisecond, func() bool { return stream.progress > before }) {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("no progress answer although every watcher is in step")
			}
		}
	})
	for _, w := range x.watchers {
		if w.stream == a.stream && answered {
			w.inStep = true
		}
	}
}

// beforeCompaction makes sure that it overtakes nobody: whether a watcher still catching up is ended by a
// compaction is a race. Who cannot be shown to be in step is canceled.
func (x *execution) beforeCompaction(revision int64) {
	if !x.asked.has("Watch") {
		return
	}
	x.sync()
	tried := map[int]bool{}
	for _, w := range slices.Clone(x.watchers) {
		if w.inStep || w.overtaken || w.from >= revision || !slices.Contains(x.watchers, w) {
			continue
		}
		if !tried[w.stream] && !x.halfClosed[w.stream] {
			tried[w.stream] = true
			x.watchProgress(action{kind: "progress", stream: w.stream})
		}
		switch {
		case w.inStep:
		case x.halfClosed[w.stream]:
			x.watchClose(w.stream)
		default:
			x.watchCancel(action{kind: "cancel", stream: w.stream, id: w.id})
		}
	}
}

// watchClose drops a stream with all its watchers, or only closes its sending half.
func (x *execution) watchClose(stream int) {
	x.sync()
	x.dropStream(stream)
}

func (x *execution) dropStream(stream int) {
	for _, s := range x.sides {
		s.streams[stream].cancel()
		delete(s.streams, stream)
	}
	x.watchers = slices.DeleteFunc(x.watchers, func(w *watcher) bool { return w.stream == stream })
	delete(x.controls, stream)
	delete(x.halfClosed, stream)
}

func (x *execution) watchHalfClose(stream int) {
	x.eachSide(func(s *side) error { return s.streams[stream].client.CloseSend() })
	x.halfClosed[stream] = true
}

// sync waits until both servers have told every watcher all that happened up to the last answer, then
// compares it. What a watcher must be told follows from the reference watcher, so that neither server is
// asked too early; that the reference itself is complete follows from the revisions in the headers.
func (x *execution) sync() {
	if x.crew != nil && x.sides[1].reference.hasEnded() { // with all who could have been asked
		asked := x.sides[1].at
		x.openReference()
		x.sides[1].at = asked
	}
	for _, s := range x.sides {
		log := s.reference.logs[referenceId]
		if x.revision > 1 && !s.reference.await(patience, func() bool { return log.tells(x.revision) }) {
			x.differ("watch", fmt.Sprintf("the watcher of everything is told of revision %d", x.revision),
				fmt.Sprintf("%s: not in %v; last %v, end %v", s.name, patience, log.last(), s.reference.ended))
		}
	}
	x.compareEvents("the watcher of everything", &x.referenceCompared,
		x.sides[0].reference, x.sides[1].reference, referenceId)

	events := x.referenceEvents()
	for _, w := range x.watchers {
		for ; w.scanned < len(events) && !w.overtaken; w.scanned++ {
			if w.wants(events[w.scanned]) {
				w.target = events[w.scanned].Kv.ModRevision
			}
		}
		name := fmt.Sprintf("stream %d, watch id %d, %v", w.stream, w.id, w.request)
		for _, s := range x.sides {
			stream := s.streams[w.stream]
			log := stream.logs[w.id]
			if !stream.await(patience, func() bool {
				return log.compacted != nil || (!w.overtaken && log.tells(w.target))
			}) || w.overtaken != (log.compacted != nil) {
				x.differ("watch delivery", fmt.Sprintf("%s is told of revision %d (overtaken: %v)", name, w.target, w.overtaken),
					fmt.Sprintf("%s: not in %v; last %v, canceled by %v, end %v", s.name, patience, log.last(), log.compacted,
						stream.ended))
			}
		}
		first, second := x.sides[0].streams[w.stream], x.sides[1].streams[w.stream]
		x.compareEvents(name, &w.compared, first, second, w.id)
		if w.overtaken && !proto.Equal(first.logs[w.id].compacted, second.logs[w.id].compacted) {
			x.differAnswers("watch end", name, first.logs[w.id].compacted, second.logs[w.id].compacted)
		}
	}
}

func (l *eventLog) tells(revision int64) bool { return l.last() >= revision && !l.openFragment }

func (l *eventLog) last() int64 {
	if len(l.events) == 0 {
		return l.since
	}
	return l.events[len(l.events)-1].Kv.ModRevision
}

func (x *execution) compareEvents(name string, from *int, first, second *watchStream, id int64) {
	for i, w := range []*watchStream{first, second} {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.broken != "" {
			x.differ("watch promise", "a stream that keeps its promises", x.sides[i].name+": "+w.broken)
		}
	}
	a, b := first.logs[id].events, second.logs[id].events
	for ; *from < len(a) && *from < len(b); *from++ {
		if !proto.Equal(a[*from], b[*from]) {
			x.differAnswers("watch event", fmt.Sprintf("event %d of %s", *from, name), a[*from], b[*from])
		}
	}
	if len(a) != len(b) {
		x.differ("watch event", fmt.Sprintf("%d events for %s", len(a), name), fmt.Sprintf("%d events", len(b)))
	}
}
