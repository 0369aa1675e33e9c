package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

type leaseState int

const (
	unknown leaseState = iota
	granted
	revoked
)

// history is what the outside knows: what was acknowledged, and every event, by revision.
type history struct {
	mu           sync.Mutex
	round        int
	pending      []*write // of the last round: acknowledged or in doubt
	leases       map[int64]leaseState
	acknowledged int
	unknown      int
	compacted    int64 // asked for, acknowledged or not

	events []*mvccpb.Event             // all that was ever seen, in order
	at     map[int64][]*mvccpb.Event   // the same by revision
	state  map[string]*mvccpb.KeyValue // what they add up to
	folded int

	hashRevision, hashCompacted int64 // a hash taken before the kill
	hash                        uint32
}

func newHistory() *history {
	return &history{leases: map[int64]leaseState{}, at: map[int64][]*mvccpb.Event{}, state: map[string]*mvccpb.KeyValue{}}
}

func (h *history) begin(w write) *write {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = append(h.pending, &w)
	return &w
}

func (h *history) acknowledge(w *write, revision, deleted int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.revision, w.deleted = revision, deleted
}

func (h *history) leaseIs(id int64, state leaseState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leases[id] = state
}

func (h *history) compact(ctx context.Context, c clients, physical bool) error {
	h.mu.Lock()
	seen := h.lastSeenLocked()
	if seen <= h.compacted+200 {
		h.mu.Unlock()
		return nil
	}
	h.compacted = seen - 100
	request := &pb.CompactionRequest{Revision: h.compacted, Physical: physical}
	h.mu.Unlock()
	_, err := c.kv.Compact(ctx, request)
	return err
}

func (h *history) lastSeen() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lastSeenLocked()
}

func (h *history) lastSeenLocked() int64 {
	if len(h.events) == 0 {
		return 1
	}
	return h.events[len(h.events)-1].Kv.ModRevision
}

// watching is the watch of everything during one run of the server.
type watching struct {
	changed chan struct{} // one token: something arrived
	done    chan struct{}
	broken  error // set before done is closed
}

// resume watches from the revision after the last one seen.
func (h *history) resume(ctx context.Context, c clients) (*watching, error) {
	stream, err := c.watch.Watch(ctx)
	if err != nil {
		return nil, err
	}
	from := h.lastSeen() + 1
	err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: from}}})
	if err != nil {
		return nil, err
	}
	w := &watching{changed: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			if r.Canceled {
				w.broken = fmt.Errorf("the watch resumed at %d was canceled: %v", from, r)
				return
			}
			if w.broken = h.see(r.Events); w.broken != nil {
				return
			}
			select {
			case w.changed <- struct{}{}:
			default:
			}
		}
	}()
	return w, nil
}

// end says whether the watch was in order, once its server is gone.
func (w *watching) end() error {
	<-w.done
	return w.broken
}

// see takes the events of one response: whole revisions, each one the next.
func (h *history) see(events []*mvccpb.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.lastSeenLocked()
	for _, event := range events {
		revision := event.Kv.ModRevision
		last := h.lastSeenLocked()
		if revision != last+1 && (revision != last || last == before) {
			return fmt.Errorf("the watch goes from revision %d to %d", last, revision)
		}
		h.events = append(h.events, event)
		h.at[revision] = append(h.at[revision], event)
	}
	return nil
}

func (h *history) verify(ctx context.Context, c clients, w *watching) error {
	all, err := c.kv.Range(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		return fmt.Errorf("reading everything: %w", err)
	}
	now := all.Header.Revision
	if seen := h.lastSeen(); now < seen {
		return fmt.Errorf("revision %d after the restart, but %d was seen before", now, seen)
	}
	for h.lastSeen() < now {
		select {
		case <-w.changed:
		case <-w.done:
			return fmt.Errorf("the watch ended at revision %d of %d: %v", h.lastSeen(), now, w.broken)
		case <-ctx.Done():
			return fmt.Errorf("the resumed watch does not get from revision %d to %d", h.lastSeen(), now)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.verifyWrites(now); err != nil {
		return err
	}
	if err := h.verifyState(all.Kvs); err != nil {
		return err
	}
	if err := h.verifyLeases(ctx, c); err != nil {
		return err
	}
	return h.verifyHash(ctx, c, now)
}

// verifyWrites compares the writes of the last round with the events.
func (h *history) verifyWrites(now int64) error {
	byValue := map[string][]*mvccpb.Event{}
	for _, event := range h.events[h.folded:] {
		if event.Type == mvccpb.Event_PUT {
			byValue[string(event.Kv.Value)] = append(byValue[string(event.Kv.Value)], event)
		}
	}
	for _, w := range h.pending {
		if w.revision == 0 {
			h.unknown++
		} else {
			h.acknowledged++
		}
		if w.revision > now {
			return fmt.Errorf("acknowledged at revision %d, but the store is at %d: %+v", w.revision, now, *w)
		}
		if w.value == "" {
			if w.revision != 0 && w.deleted > 0 && !hasDelete(h.at[w.revision], w.keys[0]) {
				return fmt.Errorf("an acknowledged delete is missing: %+v; at its revision: %v", *w, h.at[w.revision])
			}
			continue
		}
		events := byValue[w.value]
		delete(byValue, w.value)
		if len(events) == 0 && w.revision == 0 {
			continue
		}
		if len(events) != len(w.keys) {
			return fmt.Errorf("%d of %d puts of a write happened: %+v", len(events), len(w.keys), *w)
		}
		for i, event := range events {
			if string(event.Kv.Key) != w.keys[i] || event.Kv.Lease != w.lease ||
				event.Kv.ModRevision != events[0].Kv.ModRevision ||
				(w.revision != 0 && event.Kv.ModRevision != w.revision) {
				return fmt.Errorf("a write is not what was asked for: %+v, but %v", *w, events)
			}
		}
	}
	for value, events := range byValue {
		return fmt.Errorf("nobody wrote %q: %v", value, events)
	}
	h.pending = nil
	return nil
}

func hasDelete(events []*mvccpb.Event, key string) bool {
	return slices.ContainsFunc(events, func(e *mvccpb.Event) bool {
		return e.Type == mvccpb.Event_DELETE && string(e.Kv.Key) == key
	})
}

// verifyState compares what a read returns with what the events add up to.
func (h *history) verifyState(kvs []*mvccpb.KeyValue) error {
	for ; h.folded < len(h.events); h.folded++ {
		event := h.events[h.folded]
		key := string(event.Kv.Key)
		if event.Type == mvccpb.Event_DELETE {
			delete(h.state, key)
		} else {
			h.state[key] = event.Kv
		}
	}
	for i, key := range slices.Sorted(maps.Keys(h.state)) {
		if i >= len(kvs) || !proto.Equal(kvs[i], h.state[key]) {
			return fmt.Errorf("key %q: the events make it %v, the read differs (%d keys read, %d expected)",
				key, h.state[key], len(kvs), len(h.state))
		}
	}
	if len(kvs) != len(h.state) {
		return fmt.Errorf("%d keys read, %d expected", len(kvs), len(h.state))
	}
	return nil
}

func (h *history) verifyLeases(ctx context.Context, c clients) error {
	r, err := c.lease.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	if err != nil {
		return err
	}
	there := map[int64]bool{}
	for _, lease := range r.Leases {
		there[lease.ID] = true
		if _, known := h.leases[lease.ID]; !known {
			return fmt.Errorf("nobody granted lease %d", lease.ID)
		}
	}
	attached := map[int64][][]byte{}
	for _, kv := range h.state {
		if kv.Lease != 0 {
			attached[kv.Lease] = append(attached[kv.Lease], kv.Key)
		}
	}
	for id, state := range h.leases {
		if (state == granted && !there[id]) || (state == revoked && there[id]) {
			return fmt.Errorf("lease %d: granted %v, there %v", id, state == granted, there[id])
		}
		if len(attached[id]) > 0 && !there[id] {
			return fmt.Errorf("lease %d is gone, its keys are not: %q", id, attached[id])
		}
		h.leases[id] = revoked
		if there[id] {
			h.leases[id] = granted
		}
	}
	checked := 0
	for id, keys := range attached {
		if checked++; checked > 20 {
			break
		}
		r, err := c.lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
		if err != nil {
			return err
		}
		slices.SortFunc(keys, bytes.Compare)
		slices.SortFunc(r.Keys, bytes.Compare)
		if !slices.EqualFunc(keys, r.Keys, bytes.Equal) {
			return fmt.Errorf("keys of lease %d: %q, expected %q", id, r.Keys, keys)
		}
	}
	return nil
}

// verifyHash asks again for the hash taken before the kill, then takes one for the next time.
func (h *history) verifyHash(ctx context.Context, c clients, now int64) error {
	if h.hashRevision > h.compacted {
		r, err := c.maintenance.HashKV(ctx, &pb.HashKVRequest{Revision: h.hashRevision})
		if err != nil {
			return fmt.Errorf("hash of revision %d: %w", h.hashRevision, err)
		}
		if r.CompactRevision == h.hashCompacted && r.Hash != h.hash {
			return fmt.Errorf("hash of revision %d was %d, is %d", h.hashRevision, h.hash, r.Hash)
		}
	}
	r, err := c.maintenance.HashKV(ctx, &pb.HashKVRequest{Revision: now})
	if err != nil {
		return err
	}
	h.hashRevision, h.hashCompacted, h.hash = now, r.CompactRevision, r.Hash
	return nil
}

// replay asks once more for all events that compaction left, and compares them with those seen live.
func (h *history) replay(ctx context.Context, c clients) error {
	from := max(1, h.compacted)
	expected := slices.DeleteFunc(slices.Clone(h.events), func(e *mvccpb.Event) bool { return e.Kv.ModRevision < from })
	again := newHistory()
	again.events = []*mvccpb.Event{{Kv: &mvccpb.KeyValue{ModRevision: from - 1}}}
	w, err := again.resume(ctx, c)
	if err != nil {
		return err
	}
	deadline := time.After(time.Minute)
	for again.lastSeen() < h.lastSeen() {
		select {
		case <-w.changed:
		case <-w.done:
			return fmt.Errorf("the replay from %d ended: %v", from, w.broken)
		case <-deadline:
			return fmt.Errorf("the replay from %d stays at %d of %d", from, again.lastSeen(), h.lastSeen())
		}
	}
	again.mu.Lock()
	defer again.mu.Unlock()
	if !slices.EqualFunc(again.events[1:], expected, func(a, b *mvccpb.Event) bool { return proto.Equal(a, b) }) {
		return fmt.Errorf("the replay from %d differs from what was seen live (%d and %d events)", from,
			len(again.events)-1, len(expected))
	}
	return nil
}
