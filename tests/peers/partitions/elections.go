package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"keelson.dev/tests/peers/internal/cluster"
)

// Longer than this nothing was run on this machine for a while: it is the machine that is measured then.
const stalled = electionTimeout / 5

// stallWatch notes how long the machine lets somebody wait who wants to run every few milliseconds.
type stallWatch struct{ worst atomic.Int64 }

func (s *stallWatch) run(ctx context.Context) {
	before := time.Now()
	for ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
		now := time.Now()
		if wait := int64(now.Sub(before)); wait > s.worst.Load() {
			s.worst.Store(wait)
		}
		before = now
	}
}

// measureElections cuts the leader off again and again.
func (t *ordeal) measureElections() error {
	watch := &stallWatch{}
	go watch.run(t.ctx)
	var took []time.Duration
	for tries := 0; len(took) < t.elections; tries++ {
		watch.worst.Store(0)
		one, err := t.election()
		if err != nil {
			return err
		}
		wait := time.Duration(watch.worst.Load())
		t.story.Tell("%v, the machine was away for %v at most", one.Round(time.Millisecond), wait.Round(time.Millisecond))
		// A round in which the machine stood still shows nothing, neither way. It may for two rounds in three.
		if wait > stalled && tries < 3*t.elections {
			continue
		}
		took = append(took, one)
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	fmt.Printf("partitions: leader cut off, another leads: %d times, median %v, worst %v; election timeout %v; %.0f s\n", len(took),
		median.Round(time.Millisecond), worst.Round(time.Millisecond), electionTimeout, t.story.Elapsed().Seconds())
	if median > 2*electionTimeout || worst > 4*electionTimeout {
		return fmt.Errorf("the median is to be within two election timeouts, the worst within four: %v", took)
	}
	return nil
}

// election is the time from the cut to the first other member that leads.
func (t *ordeal) election() (time.Duration, error) {
	leader, err := cluster.AwaitLeader(t.ctx, t.members)
	if err != nil {
		return 0, err
	}
	lead := slices.Index(t.members, leader)
	t.lab.partBothWays([]int{lead}, t.others(lead))
	began := time.Now()
	if err := t.lab.apply(); err != nil {
		return 0, err
	}
	others := slices.DeleteFunc(slices.Clone(t.members), func(m *cluster.Member) bool { return m == leader })
	var next *cluster.Member
	for next == nil {
		if next = cluster.Leader(t.ctx, others); next == nil {
			time.Sleep(2 * time.Millisecond)
		}
		if time.Since(began) > cluster.Patience {
			return 0, errors.New("nobody else ever led")
		}
	}
	took := time.Since(began)
	if err := t.lab.heal(); err != nil {
		return 0, err
	}
	// The next round begins once all follow the same leader, and hear each other.
	err = cluster.Until(t.ctx, "all follow the new leader", func(ctx context.Context) error {
		now := cluster.Leader(ctx, t.members)
		for _, m := range t.members {
			if s, err := m.Status(ctx); err != nil || now == nil || s.Leader != now.Id {
				return fmt.Errorf("%s does not: %v", m.Name, err)
			}
		}
		return t.lab.calm()
	})
	return took, err
}
