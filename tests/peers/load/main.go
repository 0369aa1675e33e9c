// Load asks a running server for what h2load cannot: latency of one caller, watches, keep-alives, guarded
// updates by many callers. Figures leave as JSON lines; CPU is that of the server's process, from /proc.
//
// Usage: load -endpoint 127.0.0.1:2379 -pid 4711 -case latency -seconds 4
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"keelson.dev/tests/peers/internal/server"
)

type bench struct {
	ctx       context.Context
	endpoint  string // the first of
	endpoints []string
	pids      []int
	time      time.Duration
	dir       string
	client    *clientv3.Client
}

var cases = map[string]func(*bench) error{
	"latency":                      (*bench).latency,
	"fan-out 10000 on 10 streams":  func(b *bench) error { return b.fanOut(10, 1000) },
	"fan-out 1000 on 1000 streams": func(b *bench) error { return b.fanOut(1000, 1) },
	"lease keep-alive":             (*bench).keepAlive,
	"guarded txn 200 callers":      (*bench).guarded,
}

func main() {
	var b bench
	name := flag.String("case", "latency", "which case")
	seconds := flag.Int("seconds", 4, "how long to measure")
	endpoints := flag.String("endpoint", "127.0.0.1:2379", "host:port of the server, or of each, comma separated")
	pids := flag.String("pid", "", "process id of the server, or of each, for their CPU; empty: none")
	flag.StringVar(&b.dir, "dir", "", "directory on the server's disk, to measure a bare fdatasync; empty: none")
	flag.Parse()
	debug.SetGCPercent(400) // its cores are the servers' too
	run, known := cases[*name]
	if !known {
		fmt.Fprintf(os.Stderr, "load: no case %q\n", *name)
		os.Exit(2)
	}
	b.endpoints = strings.Split(*endpoints, ",")
	b.endpoint = b.endpoints[0]
	for _, text := range strings.FieldsFunc(*pids, func(r rune) bool { return r == ',' }) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			fmt.Fprintf(os.Stderr, "load: -pid: %v\n", err)
			os.Exit(2)
		}
		b.pids = append(b.pids, pid)
	}
	b.time = time.Duration(*seconds) * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), 4*b.time+2*time.Minute)
	defer cancel()
	b.ctx = ctx
	client, err := clientv3.New(clientv3.Config{Endpoints: b.endpoints, Context: ctx, Logger: zap.NewNop()})
	if err == nil {
		b.client = client
		err = run(&b)
		client.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func report(metric string, value float64) {
	json.NewEncoder(os.Stdout).Encode(map[string]any{"metric": metric, "value": value})
}

// cpu is the time the servers have worked so far, together.
func (b *bench) cpu() (sum time.Duration, err error) {
	for _, pid := range b.pids {
		one, err := cpuOf(pid)
		if err != nil {
			return 0, err
		}
		sum += one
	}
	return sum, nil
}

func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const tick = 10 * time.Millisecond // Linux tells user space in hundredths of a second
	var sum time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// measured reports the server's CPU for each of the things that `work` counts.
func (b *bench) measured(what string, work func() (int64, error)) error {
	before, err := b.cpu()
	if err != nil {
		return err
	}
	start := time.Now()
	n, err := work()
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, err := b.cpu()
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("nothing was done in %v", took)
	}
	report("CPU us/"+what, float64((after-before).Microseconds())/float64(n))
	report("k "+what+"s/s", float64(n)/took.Seconds()/1000)
	return nil
}

func median(durations []time.Duration) float64 {
	slices.Sort(durations)
	return float64(durations[len(durations)/2].Nanoseconds()) / 1000
}

// latency is that of one caller, one call at a time; kinds take turns so that all see the same machine.
func (b *bench) latency() error {
	value := strings.Repeat("v", 256)
	kinds := []struct {
		name string
		call func() error
	}{
		{"put", func() error { _, err := b.client.Put(b.ctx, "bench/latency", value); return err }},
		{"get", func() error { _, err := b.client.Get(b.ctx, "bench/latency"); return err }},
		{"serializable get", func() error {
			_, err := b.client.Get(b.ctx, "bench/latency", clientv3.WithSerializable())
			return err
		}},
	}
	if b.dir != "" {
		sync, err := syncer(b.dir)
		if err != nil {
			return err
		}
		defer sync.close()
		kinds = append(kinds, struct {
			name string
			call func() error
		}{"bare fdatasync", sync.once})
	}
	took := make([][]time.Duration, len(kinds))
	for end := time.Now().Add(b.time); time.Now().Before(end); {
		for i, kind := range kinds {
			start := time.Now()
			if err := kind.call(); err != nil {
				return fmt.Errorf("%s: %w", kind.name, err)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	for i, kind := range kinds {
		report(kind.name+" p50 us", median(took[i]))
	}
	report("put - get p50 us", median(took[0])-median(took[1]))
	if b.dir != "" {
		report("put - get - fdatasync p50 us", median(took[0])-median(took[1])-median(took[3]))
	}
	return nil
}

// syncFile writes and syncs where zeros already are, as a log does that was filled in advance.
type syncFile struct {
	file *os.File
	at   int64
}

func syncer(dir string) (*syncFile, error) {
	file, err := os.CreateTemp(dir, "sync")
	if err != nil {
		return nil, err
	}
	os.Remove(file.Name())
	if _, err = file.Write(make([]byte, syncFileBytes)); err == nil {
		err = file.Sync()
	}
	return &syncFile{file: file}, err
}

const syncFileBytes = 16 << 20

func (s *syncFile) once() error {
	if _, err := s.file.WriteAt(make([]byte, 512), s.at); err != nil {
		return err
	}
	s.at = (s.at + 512) % syncFileBytes
	return syscall.Fdatasync(int(s.file.Fd()))
}

func (s *syncFile) close() { s.file.Close() }

// connections spread streams as many clients would.
func (b *bench) connections(n int) ([]*grpc.ClientConn, func(), error) {
	var all []*grpc.ClientConn
	done := func() {
		for _, conn := range all {
			conn.Close()
		}
	}
	for range n {
		conn, err := server.Dial(b.endpoint)
		if err != nil {
			done()
			return nil, nil, err
		}
		all = append(all, conn)
	}
	return all, done, nil
}

// fanOut lets one event of 512 B go to every watcher, again and again, each time until all have it.
func (b *bench) fanOut(streams, watchers int) error {
	conns, done, err := b.connections(10)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	const key = "bench/fan-out"
	var delivered atomic.Int64
	arrived := make(chan struct{}, 1)
	created := make(chan error, streams)
	total := int64(streams * watchers)
	for i := range streams {
		go func() {
			stream, err := openWatch(ctx, conns[i%len(conns)], watchers, func(int) string { return key })
			created <- err
			for err == nil {
				var got watchAnswer
				if err = got.receive(stream); err == nil && delivered.Add(got.events)%total == 0 {
					arrived <- struct{}{}
				}
			}
		}()
	}
	for range streams {
		if err := <-created; err != nil {
			return err
		}
	}
	value := strings.Repeat("v", 512)
	return b.measured("event", func() (int64, error) {
		for end := time.Now().Add(b.time); time.Now().Before(end); {
			if _, err := b.client.Put(b.ctx, key, value); err != nil {
				return 0, err
			}
			select {
			case <-arrived:
			case <-b.ctx.Done():
				return 0, fmt.Errorf("%d of %d events: %w", delivered.Load()%total, total, b.ctx.Err())
			}
		}
		return delivered.Load(), nil
	})
}

// keepAlive renews on 10 streams, up to 20 requests of each on their way.
func (b *bench) keepAlive() error {
	const leases, streams, ahead = 1000, 10, 20
	var ids []int64
	for range leases {
		r, err := b.client.Grant(b.ctx, 600)
		if err != nil {
			return err
		}
		ids = append(ids, int64(r.ID))
	}
	conns, done, err := b.connections(streams)
	if err != nil {
		return err
	}
	defer done()
	return b.measured("keep-alive", func() (int64, error) {
		var renewed atomic.Int64
		var all sync.WaitGroup
		failed := make(chan error, 2*streams)
		end := time.Now().Add(b.time)
		for _, conn := range conns {
			ctx, broken := context.WithCancel(b.ctx)
			defer broken()
			stream, err := pb.NewLeaseClient(conn).LeaseKeepAlive(ctx)
			if err != nil {
				return 0, err
			}
			room := make(chan struct{}, ahead)
			all.Go(func() {
				for i := 0; time.Now().Before(end); i++ {
					select {
					case room <- struct{}{}:
					case <-ctx.Done():
						return
					}
					if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: ids[i%leases]}); err != nil {
						failed <- err
						break
					}
				}
				stream.CloseSend()
			})
			all.Go(func() {
				defer broken()
				for {
					r, err := stream.Recv()
					if err != nil {
						if !errors.Is(err, io.EOF) {
							failed <- err
						}
						return
					}
					if r.TTL <= 0 {
						failed <- fmt.Errorf("lease %d was not renewed", r.ID)
					}
					renewed.Add(1)
					<-room
				}
			})
		}
		all.Wait()
		close(failed)
		return renewed.Load(), <-failed
	})
}

// guarded lets callers update each its own object under a guard on its mod revision.
func (b *bench) guarded() error {
	value := strings.Repeat("v", 1024)
	object := func(i int) string { return fmt.Sprintf("/registry/pods/bench/pod-%03d", i) }
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	watched, err := b.watchObjects(ctx, object, *callers)
	defer watched.close()
	if err != nil {
		return err
	}
	took := make([][]time.Duration, *callers)
	updates := make([]int64, *callers)
	err = b.measured("txn", func() (int64, error) {
		var committed atomic.Int64
		var all sync.WaitGroup
		failed := make(chan error, *callers)
		end := time.Now().Add(b.time)
		for i := range *callers {
			all.Go(func() {
				key := object(i)
				r, err := b.client.Put(b.ctx, key, value)
				if err != nil {
					failed <- err
					return
				}
				updates[i]++
				for revision := r.Header.Revision; time.Now().Before(end); {
					start := time.Now()
					r, err := b.client.Txn(b.ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
						Then(clientv3.OpPut(key, value)).Else(clientv3.OpGet(key)).Commit()
					if err == nil && !r.Succeeded {
						err = fmt.Errorf("%s was changed by nobody: %v", key, r.Responses)
					}
					if err != nil {
						failed <- err
						return
					}
					took[i] = append(took[i], time.Since(start))
					revision = r.Header.Revision
					committed.Add(1)
					updates[i]++
				}
			})
		}
		all.Wait()
		close(failed)
		if err := <-failed; err != nil {
			return 0, err
		}
		return committed.Load(), watched.await(updates)
	})
	if err == nil {
		report("p99 ms", percentile(slices.Concat(took...), 0.99))
	}
	return err
}
