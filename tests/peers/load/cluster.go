package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Cases for several members: -endpoint and -pid name all of them, in the same order.
var (
	watchers  = flag.Int("watchers", 0, "watchers of the objects that are written (guarded txn)")
	callers   = flag.Int("callers", 200, "how many write or read at once")
	phasesOf  = flag.String("phases", "idle", "names of the phases, comma separated; each line on stdin begins the next (puts in phases)")
	throughOf = flag.Int("through", 0, "the member that is asked, by its place in -endpoint (linearizable get)")
)

func init() {
	cases["linearizable get"] = (*bench).linearizableGet
	cases["puts in phases"] = (*bench).putsInPhases
	cases["put latency by member"] = (*bench).putLatencyByMember
	cases["delete beside puts"] = (*bench).deleteBesidePuts
	cases["leader killed"] = (*bench).leaderKilled
}

// only is a client of one member.
func (b *bench) only(member int) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{b.endpoints[member]}, Context: b.ctx, Logger: b.client.GetLogger()})
}

func (b *bench) linearizableGet() error {
	client, err := b.only(*throughOf)
	if err != nil {
		return err
	}
	defer client.Close()
	const key = "bench/get"
	if _, err := client.Put(b.ctx, key, strings.Repeat("v", 256)); err != nil {
		return err
	}
	return b.measured("get", func() (int64, error) {
		var answered atomic.Int64
		err := b.inParallel(func() error {
			_, err := client.Get(b.ctx, key)
			answered.Add(1)
			return err
		})
		return answered.Load(), err
	})
}

// inParallel lets all callers repeat `call` until the time is over.
func (b *bench) inParallel(call func() error) error {
	var all sync.WaitGroup
	failed := make(chan error, *callers)
	end := time.Now().Add(b.time)
	for range *callers {
		all.Go(func() {
			for time.Now().Before(end) {
				if err := call(); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	return <-failed
}

// putLatencyByMember: puts of one caller through each member by turns, the leader's and the others' apart.
func (b *bench) putLatencyByMember() error {
	leader, err := b.leader()
	if err != nil {
		return err
	}
	value := strings.Repeat("v", 256)
	var took [2][]time.Duration
	clients := make([]*clientv3.Client, len(b.endpoints))
	for i := range clients {
		if clients[i], err = b.only(i); err != nil {
			return err
		}
		defer clients[i].Close()
	}
	for end := time.Now().Add(b.time); time.Now().Before(end); {
		for i, client := range clients {
			start := time.Now()
			if _, err := client.Put(b.ctx, "bench/latency", value); err != nil {
				return err
			}
			kind := 1
			if i == leader {
				kind = 0
			}
			took[kind] = append(took[kind], time.Since(start))
		}
	}
	through := [2]float64{median(took[0]), median(took[1])}
	report("through the leader p50 us", through[0])
	report("through a follower p50 us", through[1])
	report("follower - leader p50 us", through[1]-through[0])
	return nil
}

// leader is the place of the leader's endpoint.
func (b *bench) leader() (int, error) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for i, endpoint := range b.endpoints {
			ctx, cancel := context.WithTimeout(b.ctx, time.Second)
			r, err := b.client.Status(ctx, endpoint)
			cancel()
			if err == nil && r.Leader != 0 && r.Leader == r.Header.MemberId {
				return i, nil
			}
		}
	}
	return 0, errors.New("there is no leader")
}

func (b *bench) term() (uint64, error) {
	r, err := b.client.Status(b.ctx, b.endpoints[0])
	if err != nil {
		return 0, err
	}
	return r.RaftTerm, nil
}

// putsInPhases measures puts through the leader while others change the cluster.
func (b *bench) putsInPhases() error {
	leader, err := b.leader()
	if err != nil {
		return err
	}
	client, err := b.only(leader)
	if err != nil {
		return err
	}
	defer client.Close()
	b.client = client
	return b.putsBeside(strings.Split(*phasesOf, ","), func(nextPhase func()) error {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if lines.Text() == "next" {
				nextPhase()
			}
		}
		return lines.Err()
	})
}

// deleteBesidePuts deletes all keys of `fill` in one request while -callers put others, one after the other each.
func (b *bench) deleteBesidePuts() error {
	before, err := b.term()
	if err != nil {
		return err
	}
	var longest, deleting atomic.Int64
	over := make(chan struct{})
	failed := make(chan error, *callers)
	value := strings.Repeat("v", 256)
	var puts sync.WaitGroup
	for i := range *callers {
		puts.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				start := time.Now()
				if _, err := b.client.Put(b.ctx, fmt.Sprintf("bench/beside/%d", i), value); err != nil {
					failed <- err
					return
				}
				if took := int64(time.Since(start)); deleting.Load() == 1 {
					for old := longest.Load(); took > old && !longest.CompareAndSwap(old, took); old = longest.Load() {
					}
				}
			}
		})
	}
	b.wait(time.Second)
	deleting.Store(1)
	start := time.Now()
	r, deleteErr := b.client.Delete(b.ctx, "/registry/configmaps/", clientv3.WithPrefix())
	report("delete s", time.Since(start).Seconds())
	report("delete refused", map[bool]float64{false: 0, true: 1}[deleteErr != nil])
	if deleteErr == nil && r.Deleted != int64(*keys) {
		return fmt.Errorf("%d keys were deleted, of %d", r.Deleted, *keys)
	}
	b.wait(b.time)
	close(over)
	puts.Wait()
	close(failed)
	count := 0
	for range failed {
		count++
	}
	after, err := b.term()
	if err != nil {
		return err
	}
	report("longest put s", time.Duration(longest.Load()).Seconds())
	report("puts refused", float64(count))
	report("leader changes", float64(after-before))
	return nil
}

// leaderKilled kills the leader and reports how long it takes until a write succeeds. One is tried every 10 ms, by the
// others in turns: what was on its way to the dead leader may never be answered.
func (b *bench) leaderKilled() error {
	leader, err := b.leader()
	if err != nil {
		return err
	}
	var others []*clientv3.Client
	for i := range b.endpoints {
		if i == leader {
			continue
		}
		client, err := b.only(i)
		if err != nil {
			return err
		}
		defer client.Close()
		if _, err := client.Get(b.ctx, "bench/after"); err != nil {
			return err
		}
		others = append(others, client)
	}
	if err := syscall.Kill(b.pids[leader], syscall.SIGKILL); err != nil {
		return err
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	done := make(chan struct{}, 1)
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for i := 0; ; i++ {
		go func() {
			if _, err := others[i%len(others)].Put(ctx, "bench/after", "v"); err == nil {
				select {
				case done <- struct{}{}:
				default:
				}
			}
		}()
		select {
		case <-done:
			report("killed until a write s", time.Since(start).Seconds())
			report("killed member", float64(leader))
			return nil
		case <-every.C:
		case <-ctx.Done():
			return errors.New("no write succeeded within 30 s")
		}
	}
}

func percentile(took []time.Duration, part float64) float64 {
	slices.Sort(took)
	return float64(took[min(int(part*float64(len(took))), len(took)-1)].Microseconds()) / 1000
}
