// Gateclient uses a running server as applications do: through etcd's stock Go client and its concurrency
// package, which retry, resume, keep alive and cache by rules of their own. Each case prints PASS or FAIL.
//
// Usage: gateclient -endpoint 127.0.0.1:2379, or -subject build/release/bin/keelson to start one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"

	"keelson.dev/tests/peers/internal/server"
)

// test is one case: its own keys under its own prefix, its own client, a deadline.
type test struct {
	ctx      context.Context
	client   *clientv3.Client
	endpoint string
	prefix   string
}

type testCase struct {
	name string
	run  func(t *test) error
}

func main() {
	endpoint := flag.String("endpoint", "", "host:port of a running server; empty: start -subject")
	subject := flag.String("subject", os.Getenv("KEELSON_BIN"), "server to start (default $KEELSON_BIN, else etcd)")
	only := flag.String("run", "", "only cases whose name matches this expression")
	skip := flag.String("skip", "^$", "not the cases whose name matches this expression")
	within := flag.Duration("within", time.Minute, "time for one case")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateclient:", err)
		os.Exit(2)
	}
	unwanted, err := regexp.Compile(*skip)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateclient:", err)
		os.Exit(2)
	}
	cases = slices.DeleteFunc(cases, func(c testCase) bool { return unwanted.MatchString(c.name) })
	if *endpoint == "" {
		if *subject == "" {
			*subject = filepath.Join(filepath.Dir(os.Args[0]), "etcd")
		}
		s, err := server.Start(context.Background(), server.Config{Bin: *subject, Name: "subject"})
		if err != nil {
			fmt.Fprintln(os.Stderr, "gateclient:", err)
			os.Exit(2)
		}
		code := runAll(wanted, s.Endpoint, *within)
		s.Stop()
		os.Exit(code)
	}
	os.Exit(runAll(wanted, *endpoint, *within))
}

func runAll(wanted *regexp.Regexp, endpoint string, within time.Duration) int {
	failed, passed := 0, 0
	for i, c := range cases {
		if !wanted.MatchString(c.name) {
			continue
		}
		start := time.Now()
		if err := run(c, endpoint, fmt.Sprintf("gate/%d/%d/", start.UnixNano(), i), within); err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", c.name, err)
			continue
		}
		passed++
		fmt.Printf("PASS %s (%v)\n", c.name, time.Since(start).Round(time.Millisecond))
	}
	fmt.Printf("gateclient: %d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		return 1
	}
	return 0
}

func run(c testCase, endpoint, prefix string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second,
		Context: ctx, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	// Keys of one case stay away from those of another, and of whoever else uses the server.
	defer client.Delete(ctx, prefix, clientv3.WithPrefix())
	return c.run(&test{ctx, client, endpoint, prefix})
}

func (t *test) key(name string) string { return t.prefix + name }

func (t *test) put(name, value string, options ...clientv3.OpOption) (int64, error) {
	r, err := t.client.Put(t.ctx, t.key(name), value, options...)
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, nil
}

// values reads a range as "name=value" words.
func (t *test) values(name string, options ...clientv3.OpOption) (string, error) {
	r, err := t.client.Get(t.ctx, t.key(name), options...)
	if err != nil {
		return "", err
	}
	var words []string
	for _, kv := range r.Kvs {
		words = append(words, strings.TrimPrefix(string(kv.Key), t.prefix)+"="+string(kv.Value))
	}
	return strings.Join(words, " "), nil
}

func same[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

func (t *test) expect(want, name string, options ...clientv3.OpOption) error {
	got, err := t.values(name, options...)
	return errors.Join(err, same("range "+name, got, want))
}

func isError(what string, got, want error) error {
	if got == nil || rpctypes.Error(got) != want {
		return fmt.Errorf("%s: got error %v, want %v", what, got, want)
	}
	return nil
}

// events collects n events of a watch as words.
func (t *test) events(watch clientv3.WatchChan, n int) (string, error) {
	var words []string
	for len(words) < n {
		select {
		case r, open := <-watch:
			if !open {
				return "", fmt.Errorf("the watch closed after %q", words)
			}
			if r.Err() != nil {
				return "", r.Err()
			}
			for _, e := range r.Events {
				words = append(words, fmt.Sprintf("%v:%s=%s", e.Type, strings.TrimPrefix(string(e.Kv.Key), t.prefix), e.Kv.Value))
			}
		case <-t.ctx.Done():
			return "", fmt.Errorf("only %q: %w", words, t.ctx.Err())
		}
	}
	return strings.Join(words, " "), nil
}

func (t *test) expectEvents(want string, watch clientv3.WatchChan) error {
	got, err := t.events(watch, len(strings.Fields(want)))
	return errors.Join(err, same("events", got, want))
}

var cases = []testCase{
	{"put, get, delete", func(t *test) error {
		first, err := t.put("a", "1")
		if err != nil {
			return err
		}
		second, err := t.put("a", "2")
		if err != nil {
			return err
		}
		removed, err := t.client.Delete(t.ctx, t.key("a"), clientv3.WithPrevKV())
		if err != nil {
			return err
		}
		return errors.Join(
			same("second revision", second, first+1),
			t.expect("a=1", "a", clientv3.WithRev(first)),
			t.expect("a=2", "a", clientv3.WithRev(second)),
			t.expect("", "a"),
			same("deleted", removed.Deleted, 1),
			same("previous value", string(removed.PrevKvs[0].Value), "2"))
	}},
	{"range options", func(t *test) error {
		for i, name := range []string{"r/c", "r/a", "r/d", "r/b", "s"} {
			if _, err := t.put(name, fmt.Sprint(9-i)); err != nil {
				return err
			}
		}
		count, err := t.client.Get(t.ctx, t.key("r/"), clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		page, err := t.client.Get(t.ctx, t.key("r/"), clientv3.WithPrefix(), clientv3.WithLimit(2))
		if err != nil {
			return err
		}
		return errors.Join(
			t.expect("r/a=8 r/b=6 r/c=9 r/d=7", "r/", clientv3.WithPrefix()),
			t.expect("r/c=9 r/a=8 r/d=7 r/b=6", "r/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortAscend)),
			t.expect("r/c=9 r/a=8", "r/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByValue, clientv3.SortDescend), clientv3.WithLimit(2)),
			t.expect("r/b=6 r/c=9", "r/b", clientv3.WithRange(t.key("r/d"))),
			t.expect("r/a= r/b= r/c= r/d=", "r/", clientv3.WithPrefix(), clientv3.WithKeysOnly()),
			t.expect("r/c=9 r/d=7 s=5", "r/c", clientv3.WithRange(clientv3.GetPrefixRangeEnd(t.prefix))),
			t.expect("r/c=9", "r/", clientv3.WithFirstCreate()...),
			t.expect("r/b=6", "r/", clientv3.WithLastRev()...),
			same("count", count.Count, 4),
			same("more", page.More, true),
			same("count beside a limit", page.Count, 4))
	}},
	{"put options", func(t *test) error {
		lease, err := t.client.Grant(t.ctx, 1000)
		if err != nil {
			return err
		}
		if _, err = t.put("a", "1", clientv3.WithLease(lease.ID)); err != nil {
			return err
		}
		if _, err = t.put("a", "2", clientv3.WithIgnoreLease()); err != nil {
			return err
		}
		kept, err := t.client.Get(t.ctx, t.key("a"))
		if err != nil {
			return err
		}
		_, noKey := t.put("b", "", clientv3.WithIgnoreValue())
		_, noLease := t.put("b", "", clientv3.WithLease(12345))
		return errors.Join(
			same("kept lease", clientv3.LeaseID(kept.Kvs[0].Lease), lease.ID),
			isError("ignore_value of nothing", noKey, rpctypes.ErrKeyNotFound),
			isError("unknown lease", noLease, rpctypes.ErrLeaseNotFound))
	}},
	{"txn", func(t *test) error {
		create := func(value string) (*clientv3.TxnResponse, error) {
			return t.client.Txn(t.ctx).If(clientv3.Compare(clientv3.CreateRevision(t.key("a")), "=", 0)).
				Then(clientv3.OpPut(t.key("a"), value)).Else(clientv3.OpGet(t.key("a"))).Commit()
		}
		first, err := create("1")
		if err != nil {
			return err
		}
		second, err := create("2")
		if err != nil {
			return err
		}
		nested, err := t.client.Txn(t.ctx).If(clientv3.Compare(clientv3.Value(t.prefix).WithPrefix(), "=", "1")).
			Then(clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Version(t.key("a")), "=", 1)},
				[]clientv3.Op{clientv3.OpPut(t.key("b"), "then")}, []clientv3.Op{clientv3.OpPut(t.key("b"), "else")}),
				clientv3.OpGet(t.key("b"))).Commit()
		if err != nil {
			return err
		}
		_, twice := t.client.Txn(t.ctx).Then(clientv3.OpPut(t.key("c"), "1"), clientv3.OpPut(t.key("c"), "2")).Commit()
		return errors.Join(
			same("first", first.Succeeded, true), same("second", second.Succeeded, false),
			same("what is there", string(second.Responses[0].GetResponseRange().Kvs[0].Value), "1"),
			same("nested", nested.Responses[0].GetResponseTxn().Succeeded, true),
			same("a read after the put of the same txn", string(nested.Responses[1].GetResponseRange().Kvs[0].Value), "then"),
			isError("duplicate key", twice, rpctypes.ErrDuplicateKey))
	}},
	{"watch from now and from the past", func(t *test) error {
		first, err := t.put("a", "1")
		if err != nil {
			return err
		}
		now := t.client.Watch(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		<-now
		if _, err = t.put("b", "2"); err != nil {
			return err
		}
		if _, err = t.client.Delete(t.ctx, t.key("a")); err != nil {
			return err
		}
		past := t.client.Watch(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithRev(first))
		deletes := t.client.Watch(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithRev(first), clientv3.WithFilterPut())
		return errors.Join(
			t.expectEvents("PUT:b=2 DELETE:a=", now),
			t.expectEvents("PUT:a=1 PUT:b=2 DELETE:a=", past),
			t.expectEvents("DELETE:a=", deletes))
	}},
	{"watch: previous value, fragments, progress, cancel", func(t *test) error {
		ctx, cancel := context.WithCancel(t.ctx)
		defer cancel()
		first, err := t.put("a", "1")
		if err != nil {
			return err
		}
		if _, err = t.put("a", "2"); err != nil {
			return err
		}
		watch := t.client.Watch(ctx, t.key("a"), clientv3.WithRev(first+1), clientv3.WithPrevKV(), clientv3.WithFragment())
		r := <-watch
		if len(r.Events) != 1 || r.Events[0].PrevKv == nil {
			return fmt.Errorf("no previous value: %+v", r)
		}
		// Not answered while the watcher catches up: ask until it is.
		for progressed := false; !progressed; {
			if err = t.client.RequestProgress(ctx); err != nil {
				return err
			}
			select {
			case r := <-watch:
				progressed = r.IsProgressNotify() && r.Header.Revision > first
			case <-time.After(50 * time.Millisecond):
			case <-t.ctx.Done():
				return errors.New("no progress answer")
			}
		}
		cancel()
		for range watch {
		}
		return same("previous value", string(r.Events[0].PrevKv.Value), "1")
	}},
	{"watch of a compacted revision", func(t *test) error {
		first, err := t.put("a", "1")
		if err != nil {
			return err
		}
		last, err := t.put("a", "2")
		if err != nil {
			return err
		}
		if _, err = t.client.Compact(t.ctx, last, clientv3.WithCompactPhysical()); err != nil {
			return err
		}
		_, below := t.values("a", clientv3.WithRev(first))
		_, again := t.client.Compact(t.ctx, first)
		_, future := t.client.Compact(t.ctx, last+1_000_000)
		r := <-t.client.Watch(t.ctx, t.key("a"), clientv3.WithRev(first))
		return errors.Join(
			isError("read below", below, rpctypes.ErrCompacted),
			isError("compact again", again, rpctypes.ErrCompacted),
			isError("compact the future", future, rpctypes.ErrFutureRev),
			isError("watch below", r.Err(), rpctypes.ErrCompacted),
			same("compact revision", r.CompactRevision, last),
			t.expect("a=2", "a", clientv3.WithRev(last)))
	}},
	{"watch resumes over lost connections", func(t *test) error {
		proxy, err := startProxy(t.endpoint)
		if err != nil {
			return err
		}
		defer proxy.close()
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{proxy.address}, Context: t.ctx, Logger: zap.NewNop()})
		if err != nil {
			return err
		}
		defer client.Close()
		watch := client.Watch(t.ctx, t.prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		<-watch
		const writes = 200
		var want []string
		for i := range writes {
			want = append(want, fmt.Sprintf("PUT:k%d=%d", i%7, i))
		}
		failed := make(chan error, 1)
		go func() {
			for i := range writes {
				if _, err := t.put(fmt.Sprintf("k%d", i%7), fmt.Sprint(i)); err != nil {
					failed <- err
					return
				}
				if i%20 == 10 {
					proxy.cut()
				}
			}
			failed <- nil
		}()
		got, err := t.events(watch, writes)
		return errors.Join(err, <-failed, same("events", got, strings.Join(want, " ")))
	}},
	{"lease: keep alive, time to live, revoke", func(t *test) error {
		lease, err := t.client.Grant(t.ctx, 5)
		if err != nil {
			return err
		}
		if _, err = t.put("a", "1", clientv3.WithLease(lease.ID)); err != nil {
			return err
		}
		alive, err := t.client.KeepAlive(t.ctx, lease.ID)
		if err != nil {
			return err
		}
		beat := <-alive
		once, err := t.client.KeepAliveOnce(t.ctx, lease.ID)
		if err != nil {
			return err
		}
		ttl, err := t.client.TimeToLive(t.ctx, lease.ID, clientv3.WithAttachedKeys())
		if err != nil {
			return err
		}
		if beat == nil || len(ttl.Keys) != 1 {
			return fmt.Errorf("beat %v, keys %q", beat, ttl.Keys)
		}
		leases, err := t.client.Leases(t.ctx)
		if err != nil {
			return err
		}
		listed := false
		for _, each := range leases.Leases {
			listed = listed || each.ID == lease.ID
		}
		watch := t.client.Watch(t.ctx, t.key("a"), clientv3.WithCreatedNotify())
		<-watch
		if _, err = t.client.Revoke(t.ctx, lease.ID); err != nil {
			return err
		}
		gone, err := t.client.TimeToLive(t.ctx, lease.ID)
		if err != nil {
			return err
		}
		for range alive { // the channel closes once the lease is gone
		}
		_, dead := t.client.KeepAliveOnce(t.ctx, lease.ID)
		_, twice := t.client.Revoke(t.ctx, lease.ID)
		return errors.Join(
			same("ttl of a beat", beat.TTL, 5), same("ttl of one beat", once.TTL, 5), same("granted", ttl.GrantedTTL, 5),
			same("attached", string(ttl.Keys[0]), t.key("a")), same("listed", listed, true),
			t.expectEvents("DELETE:a=", watch), same("ttl after the end", gone.TTL, -1),
			isError("keep alive after the end", dead, rpctypes.ErrLeaseNotFound),
			isError("revoke twice", twice, rpctypes.ErrLeaseNotFound))
	}},
	{"lease expires", func(t *test) error {
		lease, err := t.client.Grant(t.ctx, 2)
		if err != nil {
			return err
		}
		if _, err = t.put("b", "2", clientv3.WithLease(lease.ID)); err != nil {
			return err
		}
		if _, err = t.put("a", "1", clientv3.WithLease(lease.ID)); err != nil {
			return err
		}
		watch := t.client.Watch(t.ctx, t.prefix, clientv3.WithPrefix())
		return errors.Join(t.expectEvents("DELETE:a= DELETE:b=", watch), t.expect("", "", clientv3.WithPrefix()))
	}},
	{"session ends with its lease", func(t *test) error {
		session, err := concurrency.NewSession(t.client, concurrency.WithTTL(5), concurrency.WithContext(t.ctx))
		if err != nil {
			return err
		}
		if _, err = t.put("a", "1", clientv3.WithLease(session.Lease())); err != nil {
			return err
		}
		if _, err = t.client.Revoke(t.ctx, session.Lease()); err != nil {
			return err
		}
		select {
		case <-session.Done():
		case <-t.ctx.Done():
			return errors.New("the session does not notice")
		}
		return t.expect("", "a")
	}},
	{"mutex", mutex},
	{"mutex: try", func(t *test) error {
		one, two, done, err := t.twoSessions()
		if err != nil {
			return err
		}
		defer done()
		first, second := concurrency.NewMutex(one, t.key("m")), concurrency.NewMutex(two, t.key("m"))
		if err = first.TryLock(t.ctx); err != nil {
			return err
		}
		if err = second.TryLock(t.ctx); !errors.Is(err, concurrency.ErrLocked) {
			return fmt.Errorf("got %v, want %v", err, concurrency.ErrLocked)
		}
		if err = first.Unlock(t.ctx); err != nil {
			return err
		}
		return errors.Join(second.TryLock(t.ctx), second.Unlock(t.ctx))
	}},
	{"election", election},
	{"software transactional memory", transfers},
	{"namespace and ordering wrappers", func(t *test) error {
		kv := namespace.NewKV(t.client, t.prefix)
		if _, err := kv.Put(t.ctx, "inner", "1"); err != nil {
			return err
		}
		watch := namespace.NewWatcher(t.client, t.prefix).Watch(t.ctx, "inner", clientv3.WithRev(1))
		r := <-watch
		if r.Err() != nil && !errors.Is(r.Err(), rpctypes.ErrCompacted) {
			return r.Err()
		}
		return t.expect("inner=1", "inner")
	}},
	{"maintenance", func(t *test) error {
		status, err := t.client.Status(t.ctx, t.endpoint)
		if err != nil {
			return err
		}
		if _, err = t.client.HashKV(t.ctx, t.endpoint, 0); err != nil {
			return err
		}
		members, err := t.client.MemberList(t.ctx)
		if err != nil {
			return err
		}
		if _, err = t.client.Defragment(t.ctx, t.endpoint); err != nil {
			return err
		}
		alarms, err := t.client.AlarmList(t.ctx)
		if err != nil {
			return err
		}
		if len(members.Members) == 0 || status.Leader == 0 {
			return fmt.Errorf("members %v, status %v", members, status)
		}
		return same("alarms", len(alarms.Alarms), 0)
	}},
	{"snapshot is complete", snapshot},
	{"large values and many keys", func(t *test) error {
		large := strings.Repeat("v", 1_500_000)
		if _, err := t.put("large", large); err != nil {
			return err
		}
		_, tooLarge := t.put("larger", strings.Repeat("v", 1_600_000))
		var writers sync.WaitGroup
		failed := make(chan error, 10)
		for w := range 10 {
			writers.Go(func() {
				for i := range 100 {
					if _, err := t.put(fmt.Sprintf("many/%d/%03d", w, i), "x"); err != nil {
						failed <- err
						return
					}
				}
			})
		}
		writers.Wait()
		close(failed)
		got, err := t.values("large")
		if err != nil {
			return err
		}
		r, err := t.client.Get(t.ctx, t.key("many/"), clientv3.WithPrefix())
		if err != nil {
			return err
		}
		return errors.Join(<-failed, same("large value", got, "large="+large), same("keys", len(r.Kvs), 1000),
			isError("too large", tooLarge, rpctypes.ErrRequestTooLarge))
	}},
}
