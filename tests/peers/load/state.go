package main

import (
	"encoding/base32"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// What these cases put into a server: `keys` keys of 64 bytes, all different, in random order, many to a
// txn so that the load costs less than the server's part of it.
var (
	keys       = flag.Int("keys", 100_000, "how many keys there are (fill, update, compaction)")
	valueBytes = flag.Int("value-bytes", 256, "size of each value (fill, update)")
	updates    = flag.Int("updates", 100_000, "how many random keys are put again (update)")
	perTxn     = flag.Int("per-txn", 100, "puts of one txn (fill, update)")
	allRandom  = flag.Bool("random-keys", false, "keys have no common beginning of 36 bytes")
	inOrder    = flag.Bool("in-order", false, "keys are put in the order of their bytes (fill), not at random")
	seed       = flag.Uint64("seed", 1, "of the random choices")
)

func init() {
	cases["fill"] = (*bench).fill
	cases["update"] = (*bench).update
	cases["compact"] = func(b *bench) error { _, err := b.compact(); return err }
	cases["latency beside compaction"] = (*bench).besideCompaction
	cases["latency beside snapshot"] = (*bench).besideSnapshot
}

var keyText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// keyOf makes the i-th key: 64 bytes, of which the first 36 are the same for all unless -random-keys.
func keyOf(i int) string {
	var bytes [40]byte
	sum := fnv.New64a()
	for at := 0; at < len(bytes); at += 8 {
		fmt.Fprint(sum, i, at)
		binary.BigEndian.PutUint64(bytes[at:], sum.Sum64()*0x9E3779B97F4A7C15)
	}
	text := keyText.EncodeToString(bytes[:])
	if !*allRandom {
		text = "/registry/configmaps/kube-system/obj" + text
	}
	return text[:64]
}

// putAll puts what `next` names, perTxn to a txn, from eight callers; `next` gives nil at the end.
func (b *bench) putAll(next func() []int) error {
	const callers = 8
	value := strings.Repeat("v", *valueBytes)
	var lock sync.Mutex
	failed := make(chan error, callers)
	for range callers {
		go func() {
			for {
				lock.Lock()
				chosen := next()
				lock.Unlock()
				if chosen == nil {
					failed <- nil
					return
				}
				ops := make([]clientv3.Op, len(chosen))
				for i, n := range chosen {
					ops[i] = clientv3.OpPut(keyOf(n), value)
				}
				if _, err := b.client.Txn(b.ctx).Then(ops...).Commit(); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	var err error
	for range callers {
		if e := <-failed; e != nil {
			err = e
		}
	}
	return err
}

func (b *bench) fill() error {
	order := rand.New(rand.NewPCG(*seed, 0)).Perm(*keys)
	if *inOrder {
		texts := make([]string, *keys)
		for i := range texts {
			texts[i] = keyOf(i)
		}
		slices.SortFunc(order, func(a, b int) int { return strings.Compare(texts[a], texts[b]) })
	}
	return b.measured("put", func() (int64, error) {
		return int64(*keys), b.putAll(func() []int {
			n := min(*perTxn, len(order))
			if n == 0 {
				return nil
			}
			part := order[:n]
			order = order[n:]
			return part
		})
	})
}

func (b *bench) update() error {
	random := rand.New(rand.NewPCG(*seed, 1))
	left := *updates
	return b.measured("put", func() (int64, error) {
		return int64(*updates), b.putAll(func() []int {
			chosen := map[int]bool{} // a txn may name a key once
			for len(chosen) < min(*perTxn, left, *keys) {
				chosen[random.IntN(*keys)] = true
			}
			if left -= len(chosen); len(chosen) == 0 {
				return nil
			}
			all := make([]int, 0, len(chosen))
			for n := range chosen {
				all = append(all, n)
			}
			slices.Sort(all)
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			return all
		})
	})
}

// compact forgets all but the newest revision, and returns when the server says that it has.
func (b *bench) compact() (time.Duration, error) {
	r, err := b.client.Get(b.ctx, "none", clientv3.WithSerializable())
	if err != nil {
		return 0, err
	}
	start := time.Now()
	_, err = b.client.Compact(b.ctx, r.Header.Revision, clientv3.WithCompactPhysical())
	took := time.Since(start)
	report("compaction s", took.Seconds())
	return took, err
}

// besideCompaction measures the puts of one caller, one after the other: while nothing else happens, while
// the server compacts all history, and while it defragments.
func (b *bench) besideCompaction() error {
	return b.putsBeside([]string{"idle", "compacting", "defragmenting"}, func(nextPhase func()) error {
		b.wait(b.time)
		nextPhase()
		compacted, err := b.compact()
		if err != nil {
			return err
		}
		b.wait(b.time - compacted) // what compaction leaves to the background counts as well
		nextPhase()
		start := time.Now()
		if _, err := b.client.Defragment(b.ctx, b.endpoint); err != nil {
			return err
		}
		report("defragment s", time.Since(start).Seconds())
		b.wait(b.time - time.Since(start))
		return nil
	})
}

// besideSnapshot does so while nothing else happens, and while a snapshot is streamed.
func (b *bench) besideSnapshot() error {
	return b.putsBeside([]string{"idle", "streaming"}, func(nextPhase func()) error {
		b.wait(b.time)
		nextPhase()
		before, err := b.cpu()
		if err != nil {
			return err
		}
		start := time.Now()
		stream, err := b.client.Snapshot(b.ctx)
		if err != nil {
			return err
		}
		defer stream.Close()
		bytes, err := io.Copy(io.Discard, stream)
		if err != nil {
			return err
		}
		after, err := b.cpu()
		if err != nil {
			return err
		}
		megabytes := float64(bytes) / (1 << 20)
		report("MB", megabytes)
		report("MB/s", megabytes/time.Since(start).Seconds())
		report("CPU s/GB, puts included", (after-before).Seconds()/megabytes*1024)
		return nil
	})
}

func (b *bench) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.ctx.Done():
	}
}

// putsBeside measures the puts of one caller, one after the other, in each of the phases that `run` goes through.
func (b *bench) putsBeside(phases []string, run func(nextPhase func()) error) error {
	var phase atomic.Int32
	took := make([][]time.Duration, len(phases))
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		value := strings.Repeat("v", *valueBytes)
		random := rand.New(rand.NewPCG(*seed, 2))
		for {
			select {
			case <-stop:
				failed <- nil
				return
			default:
			}
			now := phase.Load()
			start := time.Now()
			if _, err := b.client.Put(b.ctx, keyOf(random.IntN(*keys)), value); err != nil {
				failed <- err
				return
			}
			took[now] = append(took[now], time.Since(start))
		}
	}()
	if err := run(func() { phase.Add(1) }); err != nil {
		return err
	}
	close(stop)
	if err := <-failed; err != nil {
		return err
	}
	for i, name := range phases {
		if len(took[i]) == 0 {
			return fmt.Errorf("no put was answered in the phase %q", name)
		}
		report(name+" puts", float64(len(took[i])))
		for _, p := range []struct {
			name string
			part float64
		}{{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}} {
			report(name+" "+p.name+" ms", percentile(took[i], p.part))
		}
	}
	return nil
}
