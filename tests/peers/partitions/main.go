// Partitions runs a cluster of the server under test in network namespaces and does to its network, and to its members,
// what machines suffer: partitions whole, one-way, partial and flapping, lost packets, long wires, kill -9, SIGSTOP; and
// to both at once. Clients reach every member all the time, also who is cut off. In the end:
//
//   - every acknowledged write is there, at its revision, and nothing happened twice;
//   - all requests, reads included, can have happened in the order of their revisions (linearizable);
//   - a watcher at each member was told everything, once, in order, and all were told the same;
//   - no lease ended before its time, and all that nobody kept did;
//   - all members hold the same.
//
// With -elections it cuts the leader off so often and measures how long there is no other: the median within two
// election timeouts, the worst within four.
//
// It is started by tests/net/run, in a network that is removed with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	"keelson.dev/tests/peers/internal/cluster"
	"keelson.dev/tests/peers/internal/history"
	"keelson.dev/tests/peers/internal/trial"
)

type options struct {
	subject     string
	members     int
	long        time.Duration
	elections   int
	seed        uint64
	clients     int
	packetDelay string
	verbose     bool
}

const electionTimeout = 500 * time.Millisecond

func main() {
	var o options
	flag.StringVar(&o.subject, "subject", os.Getenv("KEELSON_BIN"), "server under test (default $KEELSON_BIN, else etcd)")
	flag.IntVar(&o.members, "members", 3, "of the cluster")
	flag.DurationVar(&o.long, "for", 30*time.Second, "begin no further trouble after this long")
	flag.IntVar(&o.elections, "elections", 0, "only measure so many elections")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of the load and of the troubles; 0: a new one")
	flag.IntVar(&o.clients, "clients", 8, "concurrent clients")
	flag.StringVar(&o.packetDelay, "packet-delay", "", "the program that delays packets; empty: none are")
	flag.BoolVar(&o.verbose, "verbose", false, "say what is done")
	flag.Parse()
	ctx, stop := trial.Begin("partitions", &o.subject, trial.Oracle(), &o.seed)
	defer stop()
	fmt.Printf("partitions: %d members, seed %d\n", o.members, o.seed)
	if err := o.run(ctx); err != nil {
		fmt.Printf("FAIL partitions, seed %d: %v\n", o.seed, err)
		os.Exit(1)
	}
	fmt.Println("PASS partitions")
}

// ordeal is one cluster in its network, and what befalls it.
type ordeal struct {
	options
	ctx     context.Context
	lab     *lab
	dice    *rand.Rand
	members []*cluster.Member
	log     *history.Log
	traffic *history.Traffic
	story   *trial.Story
	count   map[string]int
}

func (o options) run(ctx context.Context) error {
	return trial.InDirectory("partitions", func(dir string) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		t := &ordeal{options: o, ctx: ctx, dice: rand.New(rand.NewPCG(o.seed, 13)), story: trial.NewStory(o.verbose), log: &history.Log{},
			count: map[string]int{}}
		lab, err := newLab(o.members, o.packetDelay)
		t.lab = lab
		defer t.lab.close()
		if err != nil {
			return err
		}
		defer func() {
			t.lab.shorten()
			for _, m := range t.members {
				m.Close()
			}
		}()
		return t.story.With(t.start(dir), t.members, 15)
	})
}

func (t *ordeal) start(dir string) error {
	if err := t.found(dir); err != nil {
		return err
	}
	if t.elections > 0 {
		return t.measureElections()
	}
	return t.live()
}

func (t *ordeal) found(dir string) error {
	for i := range t.options.members {
		m := &cluster.Member{Name: fmt.Sprintf("m%d", i+1), Bin: t.subject, Client: address(i) + ":2379", Peer: address(i) + ":2380",
			Prefix: t.lab.inside(i), Args: []string{fmt.Sprintf("--election-timeout=%d", electionTimeout.Milliseconds()),
				fmt.Sprintf("--heartbeat-interval=%d", electionTimeout.Milliseconds()/10),
				"--snapshot-count=1000", "--snapshot-catchup-entries=100"}}
		if err := m.Place(dir); err != nil {
			return err
		}
		t.members = append(t.members, m)
	}
	for _, m := range t.members {
		if err := m.Start(t.members); err != nil {
			return err
		}
	}
	return cluster.AwaitAllReady(t.ctx, t.members)
}

// live runs the load and the troubles, and judges.
func (t *ordeal) live() error {
	t.traffic = &history.Traffic{Log: t.log, Timeout: 2 * time.Second, Pause: 4 * time.Millisecond, Seed: t.seed,
		Pick: func(dice *rand.Rand) *grpc.ClientConn { return t.members[dice.IntN(len(t.members))].Conn }}
	var watching sync.WaitGroup
	watch, stopWatching := context.WithCancel(t.ctx)
	defer watching.Wait()
	defer stopWatching()
	for _, m := range t.members {
		watching.Go(func() { t.log.Follow(watch, m.Name, func() *grpc.ClientConn { return m.Conn }) })
	}
	t.traffic.Start(t.ctx, t.clients, 2, true)
	err := t.troubles()
	t.traffic.Stop()
	return errors.Join(err, t.traffic.Broken(), t.judge())
}

// troubles brings each kind in random order, again and again, until the time is over.
func (t *ordeal) troubles() error {
	for t.story.Elapsed() < t.long {
		for _, i := range t.dice.Perm(len(troubles)) {
			if t.story.Elapsed() >= t.long {
				return nil
			}
			if troubles[i].needsDelay && t.packetDelay == "" {
				continue
			}
			if err := t.suffer(troubles[i]); err != nil {
				return fmt.Errorf("%s: %w", troubles[i].name, err)
			}
		}
	}
	return nil
}

// suffer brings one trouble, waits until the rest gets on in spite of it, ends it, and waits until all is well.
func (t *ordeal) suffer(trouble trouble) error {
	leader, err := cluster.AwaitLeader(t.ctx, t.members)
	if err != nil {
		return err
	}
	lead := 0
	for i, m := range t.members {
		if m == leader {
			lead = i
		}
	}
	t.story.Tell("%s; %s leads", trouble.name, leader.Name)
	t.count[trouble.name]++
	if err := trouble.begin(t, lead); err != nil {
		return err
	}
	select {
	case <-time.After(time.Duration(600+t.dice.IntN(1200)) * time.Millisecond):
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
	if err := t.goOn(); err != nil {
		return err
	}
	if err := t.healAll(); err != nil {
		return err
	}
	t.story.Tell("all is well")
	return t.traffic.Broken()
}

func (t *ordeal) goOn() error { return trial.GoOn(t.ctx, t.traffic, 20, t.members) }

func (t *ordeal) healAll() error {
	if err := t.lab.heal(); err != nil {
		return err
	}
	for _, m := range t.members {
		if m.Paused() {
			m.Resume()
		}
		if !m.Running() {
			if err := m.Start(t.members); err != nil {
				return err
			}
		}
	}
	return cluster.AwaitAllReady(t.ctx, t.members)
}

// judge looks at everything once the load has stopped.
func (t *ordeal) judge() error {
	if err := t.healAll(); err != nil {
		return err
	}
	last, summary, err := trial.Judge(t.ctx, t.traffic, t.members)
	if err != nil {
		return err
	}
	for _, each := range troubles {
		if n := t.count[each.name]; n > 0 {
			fmt.Printf("%5d  %s\n", n, each.name)
		}
	}
	fmt.Printf("partitions: %d members, revision %d, %v; %.0f s\n", len(t.members), last, summary, t.story.Elapsed().Seconds())
	return nil
}
