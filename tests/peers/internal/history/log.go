// Package history keeps what the outside knows of a store while much befalls it: every event, by revision, as
// watchers have told it, and every request with its times and its answer. In the end it judges: is each acknowledged
// write there, was each done once, and is there an order in which all requests can have happened, each between its
// call and its answer?
package history

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Log is every event from the first revision on. Whoever tells a revision first writes it; all others must tell the
// same.
type Log struct {
	mu        sync.Mutex
	revisions [][]*mvccpb.Event // of revision i+2: an empty store is at 1
	broken    error             // the first promise that a watcher broke
	followers []*follower
	onDelete  func(key string, at time.Time)
}

type follower struct {
	name string
	last int64
}

// OnDelete has each delete told once, when it is first heard of.
func (l *Log) OnDelete(tell func(key string, at time.Time)) { l.onDelete = tell }

// Follow watches everything through whomever `pick` names (nil: nobody now), and goes on where it was when that ends.
func (l *Log) Follow(ctx context.Context, name string, pick func() *grpc.ClientConn) {
	f := &follower{name: name, last: 1}
	l.mu.Lock()
	l.followers = append(l.followers, f)
	l.mu.Unlock()
	for ctx.Err() == nil && l.Broken() == nil {
		if conn := pick(); conn != nil {
			l.follow(ctx, f, conn)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (l *Log) follow(ctx context.Context, f *follower, conn *grpc.ClientConn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		return
	}
	from := f.last + 1
	if stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: from}}}) != nil {
		return
	}
	for {
		r, err := stream.Recv()
		if err != nil {
			return
		}
		if r.Canceled {
			if r.CompactRevision != 0 {
				l.breaks(fmt.Errorf("%s: the watch resumed at %d was overtaken: %v", f.name, from, r))
			}
			return // a member without a leader may end it
		}
		l.take(f, r.Events)
	}
}

// take checks one response: whole revisions, each one the next.
func (l *Log) take(f *follower, events []*mvccpb.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(events) > 0 && l.broken == nil {
		revision, n := events[0].Kv.ModRevision, 1
		for n < len(events) && events[n].Kv.ModRevision == revision {
			n++
		}
		if revision != f.last+1 {
			l.broken = fmt.Errorf("%s: a watch goes from revision %d to %d", f.name, f.last, revision)
			return
		}
		l.write(f, revision, events[:n])
		f.last, events = revision, events[n:]
	}
}

func (l *Log) write(f *follower, revision int64, events []*mvccpb.Event) {
	at := int(revision - 2)
	if at == len(l.revisions) {
		l.revisions = append(l.revisions, events)
		for _, e := range events {
			if e.Type == mvccpb.Event_DELETE && l.onDelete != nil {
				l.onDelete(string(e.Kv.Key), time.Now())
			}
		}
		return
	}
	known := l.revisions[at]
	same := len(known) == len(events)
	for i := 0; same && i < len(events); i++ {
		same = proto.Equal(known[i], events[i])
	}
	if !same {
		l.broken = fmt.Errorf("%s: told of revision %d otherwise: %v, and before %v", f.name, revision, events, known)
	}
}

func (l *Log) breaks(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = err
	}
}

// Broken is the first promise that was broken; nil if none was.
func (l *Log) Broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// Last is the newest revision known.
func (l *Log) Last() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.revisions)) + 1
}

// Slowest is the revision that all followers have been told of.
func (l *Log) Slowest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	slowest := int64(len(l.revisions)) + 1
	for _, f := range l.followers {
		slowest = min(slowest, f.last)
	}
	return slowest
}

// AwaitAll waits until every follower has been told of everything up to the revision, or the context ends.
func (l *Log) AwaitAll(ctx context.Context, revision int64) error {
	for {
		if err := l.Broken(); err != nil {
			return err
		}
		if l.Slowest() >= revision {
			return nil
		}
		if ctx.Err() != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			text := ""
			for _, f := range l.followers {
				text += fmt.Sprintf(" %s %d", f.name, f.last)
			}
			return fmt.Errorf("watches are to get to revision %d, but are at:%s", revision, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
