// Watches asks a server for what a random history seldom meets: readers that do not read, thousands of
// watchers, progress, compaction under a slow reader. Whatever happens, each watcher must be told of its
// events in order, each once, none left out. Each case prints PASS or FAIL.
//
// Usage: watches -subject build/release/bin/keelson; without a subject etcd takes its place.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"keelson.dev/tests/peers/internal/server"
)

type test struct {
	ctx    context.Context
	server *server.Server
	client *clientv3.Client
}

var cases = []struct {
	name string
	run  func(*test) error
}{
	{"a reader that stops reading misses nothing", (*test).slowReader},
	{"a slow reader does not keep the others from being told", (*test).slowBesideFast},
	{"a slow reader overtaken by compaction has no gap before its end", (*test).slowOvertaken},
	{"two thousand watchers of all kinds", (*test).many},
	{"history while it is written", (*test).historyUnderWrites},
	{"periodic progress comes when nothing else does", (*test).periodicProgress},
	{"progress asked for covers every put answered before", (*test).askedProgress},
	{"answers come in the order of the requests", (*test).controlOrder},
	{"a stream that is cancelled leaves nothing behind", (*test).cancelled},
}

func main() {
	subject := flag.String("subject", os.Getenv("KEELSON_BIN"), "server to start (default $KEELSON_BIN, else etcd)")
	only := flag.String("run", "", "only cases whose name matches this expression")
	within := flag.Duration("within", 2*time.Minute, "time for one case")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "watches:", err)
		os.Exit(2)
	}
	if *subject == "" {
		*subject = filepath.Join(filepath.Dir(os.Args[0]), "etcd")
	}
	failed, passed := 0, 0
	for _, c := range cases {
		if !wanted.MatchString(c.name) {
			continue
		}
		start := time.Now()
		if err := run(c.run, *subject, *within); err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", c.name, err)
			continue
		}
		passed++
		fmt.Printf("PASS %s (%v)\n", c.name, time.Since(start).Round(time.Millisecond))
	}
	fmt.Printf("watches: %d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

// run gives each case a server of its own: some fill it.
func run(what func(*test) error, subject string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	s, err := server.Start(ctx, server.Config{Bin: subject, Name: "subject",
		Args: []string{"--unsafe-no-fsync", "--watch-progress-notify-interval=200ms"}})
	if err != nil {
		return err
	}
	defer s.Stop()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint}, Context: ctx, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	if err := what(&test{ctx, s, client}); err != nil {
		return fmt.Errorf("%w\n%s", err, s.LogTail(5))
	}
	return nil
}

// stream is a raw Watch stream on a connection of its own.
type stream struct {
	pb.Watch_WatchClient
	conn   *grpc.ClientConn
	cancel context.CancelFunc
}

func (t *test) open() (*stream, error) {
	conn, err := server.Dial(t.server.Endpoint)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.ctx, "hasleader", "true"))
	watch, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		cancel()
		conn.Close()
		return nil, err
	}
	return &stream{watch, conn, cancel}, nil
}

func (s *stream) close() {
	s.cancel()
	s.conn.Close()
}

func (s *stream) create(request *pb.WatchCreateRequest) (*pb.WatchResponse, error) {
	if err := s.ask(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}}); err != nil {
		return nil, err
	}
	response, err := s.Recv()
	if err == nil && (!response.Created || response.Canceled) {
		err = fmt.Errorf("not created: %v", response)
	}
	return response, err
}

func (s *stream) ask(request *pb.WatchRequest) error { return s.Send(request) }

// follower checks that what one watcher is told is what it must be: its revisions, one by one.
type follower struct {
	expected []int64 // revisions of its events, ascending
	at       int
}

func (f *follower) take(response *pb.WatchResponse) error {
	for _, event := range response.Events {
		if f.at == len(f.expected) {
			return fmt.Errorf("an event too many, at revision %d", event.Kv.ModRevision)
		}
		if want := f.expected[f.at]; event.Kv.ModRevision != want {
			return fmt.Errorf("event %d is of revision %d instead of %d", f.at, event.Kv.ModRevision, want)
		}
		f.at++
	}
	return nil
}

func (t *test) fill(prefix string, count, bytes int) ([]int64, error) {
	value := strings.Repeat("v", bytes)
	var revisions []int64
	for i := range count {
		r, err := t.client.Put(t.ctx, fmt.Sprintf("%s%d", prefix, i%50), value)
		if err != nil {
			return nil, err
		}
		revisions = append(revisions, r.Header.Revision)
	}
	return revisions, nil
}

func (t *test) slowReader() error {
	s, err := t.open()
	if err != nil {
		return err
	}
	defer s.close()
	if _, err = s.create(&pb.WatchCreateRequest{Key: []byte("slow/"), RangeEnd: []byte("slow0"), PrevKv: true}); err != nil {
		return err
	}
	revisions, err := t.fill("slow/", 600, 100_000) // more than any buffer on the way
	if err != nil {
		return err
	}
	f := follower{expected: revisions}
	for f.at < len(f.expected) {
		response, err := s.Recv()
		if err != nil {
			return err
		}
		for _, event := range response.Events {
			if creation := event.Kv.Version == 1; creation != (event.PrevKv == nil) {
				return fmt.Errorf("revision %d: creation %v, prev_kv %v", event.Kv.ModRevision, creation, event.PrevKv != nil)
			}
		}
		if err := f.take(response); err != nil {
			return err
		}
	}
	// In step again: the next one is told at once.
	last, err := t.fill("slow/", 1, 1)
	if err != nil {
		return err
	}
	f.expected = append(f.expected, last...)
	response, err := s.Recv()
	if err != nil {
		return err
	}
	return f.take(response)
}

func (t *test) slowBesideFast() error {
	slow, err := t.open()
	if err != nil {
		return err
	}
	defer slow.close()
	fast, err := t.open()
	if err != nil {
		return err
	}
	defer fast.close()
	for _, s := range []*stream{slow, fast} {
		if _, err := s.create(&pb.WatchCreateRequest{Key: []byte("k"), RangeEnd: []byte("l")}); err != nil {
			return err
		}
	}
	value := strings.Repeat("v", 200_000)
	for i := range 200 {
		r, err := t.client.Put(t.ctx, "k", value)
		if err != nil {
			return err
		}
		response, err := fast.Recv()
		if err != nil {
			return err
		}
		f := follower{expected: []int64{r.Header.Revision}}
		if err := f.take(response); err != nil {
			return fmt.Errorf("put %d: %w", i, err)
		}
	}
	return nil
}

func (t *test) slowOvertaken() error {
	s, err := t.open()
	if err != nil {
		return err
	}
	defer s.close()
	if _, err = s.create(&pb.WatchCreateRequest{Key: []byte("slow/"), RangeEnd: []byte("slow0")}); err != nil {
		return err
	}
	revisions, err := t.fill("slow/", 600, 100_000)
	if err != nil {
		return err
	}
	last := revisions[len(revisions)-1]
	if _, err := t.client.Compact(t.ctx, last); err != nil {
		return err
	}
	f := follower{expected: revisions}
	for f.at < len(f.expected) {
		response, err := s.Recv()
		if err != nil {
			return err
		}
		if response.Canceled {
			if response.CompactRevision != last || response.Header.Revision != 0 {
				return fmt.Errorf("the end is %v", response)
			}
			return nil
		}
		if err := f.take(response); err != nil {
			return err
		}
	}
	return nil // it was told of all before the compaction
}

// watched is one of many watchers: what it asked for and what it has been told.
type watched struct {
	request *pb.WatchCreateRequest
	follower
}

func (w *watched) wants(key string, deleted bool) bool {
	for _, filter := range w.request.Filters {
		if (filter == pb.WatchCreateRequest_NODELETE) == deleted {
			return false
		}
	}
	if len(w.request.RangeEnd) == 0 {
		return key == string(w.request.Key)
	}
	return key >= string(w.request.Key) && key < string(w.request.RangeEnd)
}

func (t *test) many() error {
	const streams, perStream, writes, keys = 20, 100, 1500, 40
	dice := rand.New(rand.NewPCG(1, 2))
	key := func() string { return fmt.Sprintf("many/%02d", dice.IntN(keys)) }
	var all []*watched
	done := make(chan error, streams)
	for range streams {
		s, err := t.open()
		if err != nil {
			return err
		}
		defer s.close()
		mine := map[int64]*watched{}
		for range perStream {
			request := &pb.WatchCreateRequest{Key: []byte(key()), PrevKv: dice.IntN(2) == 0}
			if dice.IntN(2) == 0 {
				request.RangeEnd = []byte(key() + "x")
				if string(request.RangeEnd) <= string(request.Key) {
					request.RangeEnd = []byte("many/99")
				}
			}
			if dice.IntN(4) == 0 {
				request.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_FilterType(dice.IntN(2))}
			}
			response, err := s.create(request)
			if err != nil {
				return err
			}
			mine[response.WatchId] = &watched{request: request}
			all = append(all, mine[response.WatchId])
		}
		go func() { done <- readUntilLast(s, mine) }()
	}
	for range writes {
		name := key()
		if dice.IntN(4) > 0 {
			r, err := t.client.Put(t.ctx, name, "v")
			if err != nil {
				return err
			}
			told(all, name, false, r.Header.Revision)
			continue
		}
		r, err := t.client.Delete(t.ctx, name)
		if err != nil {
			return err
		}
		if r.Deleted > 0 {
			told(all, name, true, r.Header.Revision)
		}
	}
	if _, err := t.client.Put(t.ctx, "last", ""); err != nil {
		return err
	}
	for range streams {
		if err := <-done; err != nil {
			return err
		}
	}
	for _, w := range all {
		if w.at != len(w.expected) {
			return fmt.Errorf("%v was told of %d events instead of %d", w.request, w.at, len(w.expected))
		}
	}
	return nil
}

func told(all []*watched, key string, deleted bool, revision int64) {
	for _, w := range all {
		if w.wants(key, deleted) {
			w.expected = append(w.expected, revision)
		}
	}
}

// readUntilLast notes what is told of each watcher; what should have been is compared at the end, when it is
// known. A watcher of the key "last" tells when that is.
func readUntilLast(s *stream, mine map[int64]*watched) error {
	const lastId = 5000
	if err := s.ask(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte("last"), WatchId: lastId, StartRevision: 1}}}); err != nil {
		return err
	}
	got := map[int64][]*pb.WatchResponse{}
	for {
		response, err := s.Recv()
		if err != nil {
			return err
		}
		if response.WatchId != lastId {
			got[response.WatchId] = append(got[response.WatchId], response)
		} else if len(response.Events) > 0 {
			break
		}
	}
	for id, responses := range got {
		w := mine[id]
		for _, response := range responses {
			if err := w.take(response); err != nil {
				return fmt.Errorf("%v: %w", w.request, err)
			}
			if err := w.checkPrevious(response); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *watched) checkPrevious(response *pb.WatchResponse) error {
	for _, event := range response.Events {
		creation := event.Type == mvccpb.Event_PUT && event.Kv.CreateRevision == event.Kv.ModRevision
		if wanted := w.request.PrevKv && !creation; wanted != (event.PrevKv != nil) {
			return fmt.Errorf("%v: prev_kv of %v", w.request, event)
		}
	}
	return nil
}

func (t *test) historyUnderWrites() error {
	before, err := t.fill("history/", 3000, 100)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	var after []int64
	go func() {
		var err error
		after, err = t.fill("history/", 3000, 100)
		done <- err
	}()
	var streams []*stream
	for i := range 20 {
		s, err := t.open()
		if err != nil {
			return err
		}
		defer s.close()
		request := &pb.WatchCreateRequest{Key: []byte("history/"), RangeEnd: []byte("history0"), PrevKv: i%2 == 0,
			StartRevision: before[i*100]}
		if _, err := s.create(request); err != nil {
			return err
		}
		streams = append(streams, s)
	}
	if err := <-done; err != nil {
		return err
	}
	for i, s := range streams {
		f := follower{expected: append(append([]int64{}, before[i*100:]...), after...)}
		for f.at < len(f.expected) {
			response, err := s.Recv()
			if err != nil {
				return err
			}
			if err := f.take(response); err != nil {
				return fmt.Errorf("from %d: %w", f.expected[0], err)
			}
		}
	}
	return nil
}

func (t *test) periodicProgress() error {
	s, err := t.open()
	if err != nil {
		return err
	}
	defer s.close()
	if _, err = s.create(&pb.WatchCreateRequest{Key: []byte("quiet"), ProgressNotify: true}); err != nil {
		return err
	}
	r, err := t.client.Put(t.ctx, "elsewhere", "v")
	if err != nil {
		return err
	}
	for range 3 {
		response, err := s.Recv()
		if err != nil {
			return err
		}
		if len(response.Events) != 0 || response.WatchId != 0 || response.Header.Revision > r.Header.Revision {
			return fmt.Errorf("not progress: %v", response)
		}
	}
	return nil
}

func (t *test) askedProgress() error {
	s, err := t.open()
	if err != nil {
		return err
	}
	defer s.close()
	for range 3 {
		if _, err = s.create(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("b")}); err != nil {
			return err
		}
	}
	for i := range 300 {
		r, err := t.client.Put(t.ctx, "a", "v")
		if err != nil {
			return err
		}
		if err := s.ask(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
			ProgressRequest: &pb.WatchProgressRequest{}}}); err != nil {
			return err
		}
		told := 0
		for {
			response, err := s.Recv()
			if err != nil {
				return err
			}
			told += len(response.Events)
			if len(response.Events) > 0 {
				continue
			}
			if response.WatchId != -1 || response.Header.Revision < r.Header.Revision || told != 3 {
				return fmt.Errorf("put %d at %d: %v after %d events", i, r.Header.Revision, response, told)
			}
			break
		}
	}
	return nil
}

func (t *test) controlOrder() error {
	s, err := t.open()
	if err != nil {
		return err
	}
	defer s.close()
	const count = 500
	for i := range int64(count) {
		if err := s.ask(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: []byte("x"), WatchId: 1000 + i}}}); err != nil {
			return err
		}
		if err := s.ask(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
			CancelRequest: &pb.WatchCancelRequest{WatchId: 1000 + i}}}); err != nil {
			return err
		}
	}
	for i := range int64(2 * count) {
		response, err := s.Recv()
		if err != nil {
			return err
		}
		if response.WatchId != 1000+i/2 || response.Created == response.Canceled || response.Created != (i%2 == 0) {
			return fmt.Errorf("answer %d is %v", i, response)
		}
	}
	return nil
}

func (t *test) cancelled() error {
	for range 200 {
		s, err := t.open()
		if err != nil {
			return err
		}
		for range 20 {
			if _, err := s.create(&pb.WatchCreateRequest{Key: []byte("x"), StartRevision: 1}); err != nil {
				return err
			}
		}
		s.close()
	}
	_, err := t.client.Put(t.ctx, "x", "v")
	return err
}
