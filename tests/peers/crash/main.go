// Crash kills one member with SIGKILL in the middle of its work, again and again on one data directory, and
// checks after each restart that it kept its word:
//
//   - every acknowledged write stands in history at the revision it was acknowledged with;
//   - a write whose outcome is unknown happened wholly, once, or not at all;
//   - a watch resumed after the last event seen goes on with the very next revision, no gap, no repetition;
//   - what a read returns is what the events add up to, so nothing else happened either;
//   - leases, and the hash of a revision hashed before, are as they were.
//
// Usage: crash -n 50 -subject build/release/bin/keelson
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"keelson.dev/tests/peers/internal/server"
	"keelson.dev/tests/peers/internal/trial"
)

type options struct {
	rounds  int
	seed    uint64
	subject string
	extra   string
	writers int
	loadMax time.Duration
	within  time.Duration
	fault   string
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "n", 50, "how often to kill")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of the moments and of the writes; 0: a new one")
	flag.StringVar(&o.subject, "subject", os.Getenv("KEELSON_BIN"), "server under test (default $KEELSON_BIN, else etcd)")
	flag.StringVar(&o.extra, "args", "--snapshot-count=2000", "more flags for the server, space separated")
	flag.IntVar(&o.writers, "writers", 16, "concurrent writers")
	flag.DurationVar(&o.loadMax, "load", 800*time.Millisecond, "longest time under load before a kill")
	flag.DurationVar(&o.within, "within", 10*time.Minute, "give up after this long")
	flag.StringVar(&o.fault, "fault", "", "harm the data on purpose to see that it is found: forget (the last round)")
	flag.Parse()
	ctx, stop := trial.Begin("crash", &o.subject, trial.Oracle(), &o.seed)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.within)
	defer cancel()
	if err := o.run(ctx); err != nil {
		fmt.Printf("FAIL crash, seed %d: %v\n", o.seed, err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	fmt.Printf("crash: seed %d, %d rounds\n", o.seed, o.rounds)
	return trial.InDirectory("crash", func(dir string) error { return o.killAgainAndAgain(ctx, dir) })
}

func (o options) killAgainAndAgain(ctx context.Context, dir string) error {
	port, err := server.FreePort()
	if err != nil {
		return err
	}
	config := server.Config{Bin: o.subject, Name: "subject", Dir: dir, Args: strings.Fields(o.extra),
		AdvertisePeer: fmt.Sprintf("http://127.0.0.1:%d", port)}
	dice := rand.New(rand.NewPCG(o.seed, 1))
	h := newHistory()
	began := time.Now()
	for round := 1; round <= o.rounds+1; round++ {
		if ctx.Err() != nil {
			return fmt.Errorf("round %d: out of time: %w", round, ctx.Err())
		}
		if round > 1 && dice.IntN(4) == 0 { // a crash while it recovers from the last one
			early := config
			early.NoWait = true
			s, err := server.Start(ctx, early)
			if err != nil {
				return err
			}
			select {
			case <-time.After(time.Duration(dice.Int64N(int64(150 * time.Millisecond)))):
			case <-s.Exited():
			}
			s.Kill()
		}
		starting := time.Now()
		s, err := server.Start(ctx, config)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		recovered := time.Since(starting)
		last := round == o.rounds+1
		err = o.round(ctx, s, h, dice, last)
		s.Kill()
		if o.fault == "forget" && round == 3 && err == nil {
			err = restore(dir)
		}
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round%10 == 0 || last {
			fmt.Printf("crash: %d kills, %d acknowledged, %d unknown, revision %d, last start %v, %.0f s\n",
				round-1, h.acknowledged, h.unknown, h.lastSeen(), recovered.Round(time.Millisecond), time.Since(began).Seconds())
		}
	}
	fmt.Printf("PASS crash: %d kills, %d acknowledged writes all kept\n", o.rounds, h.acknowledged)
	return nil
}

// round verifies what the kill before left, then loads the server and kills it.
func (o options) round(ctx context.Context, s *server.Server, h *history, dice *rand.Rand, last bool) error {
	conn, err := server.Dial(s.Endpoint)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c := clients{pb.NewKVClient(conn), pb.NewWatchClient(conn), pb.NewLeaseClient(conn), pb.NewMaintenanceClient(conn)}

	w, err := h.resume(ctx, c)
	if err != nil {
		return err
	}
	if err := h.verify(ctx, c, w); err != nil {
		return err
	}
	if last {
		return h.replay(ctx, c)
	}
	if o.fault == "forget" {
		if err := save(s.Dir()); err != nil {
			return err
		}
	}
	load := startLoad(ctx, c, h, o.writers, dice.Uint64())
	select {
	case <-time.After(20*time.Millisecond + time.Duration(dice.Int64N(int64(o.loadMax)))):
	case <-ctx.Done():
	}
	load.killed.Store(true)
	s.Kill()
	if err := load.wait(); err != nil {
		return err
	}
	return w.end()
}

// save keeps a copy of the data as it was before the load; restore puts it in the place of what came after,
// as a disk would that lied about its syncs.
func save(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, "saved")); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(dir, "saved"), os.DirFS(filepath.Join(dir, "data")))
}

func restore(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "saved"), filepath.Join(dir, "data"))
}
