package main

import (
	"slices"
	"time"

	"keelson.dev/tests/peers/internal/cluster"
)

// trouble is one thing that befalls a cluster whose leader is number `lead`. Most leave a majority that can get on; where
// none does for a while, it has to afterwards.
type trouble struct {
	name       string
	begin      func(t *ordeal, lead int) error
	needsDelay bool
}

var troubles = []trouble{
	{name: "the leader is cut off", begin: func(t *ordeal, lead int) error {
		t.lab.partBothWays([]int{lead}, t.others(lead))
		return t.lab.apply()
	}},
	{name: "a follower is cut off", begin: func(t *ordeal, lead int) error {
		one := t.follower(lead)
		t.lab.partBothWays([]int{one}, t.others(one))
		return t.lab.apply()
	}},
	{name: "a minority with the leader is cut off", begin: func(t *ordeal, lead int) error {
		minority := append([]int{lead}, t.some(t.others(lead), (len(t.members)-1)/2-1)...)
		t.lab.partBothWays(minority, t.others(minority...))
		return t.lab.apply()
	}},
	{name: "nobody hears the leader", begin: func(t *ordeal, lead int) error {
		t.lab.part([]int{lead}, t.others(lead))
		return t.lab.apply()
	}},
	{name: "the leader hears nobody", begin: func(t *ordeal, lead int) error {
		t.lab.part(t.others(lead), []int{lead})
		return t.lab.apply()
	}},
	{name: "a follower hears nobody", begin: func(t *ordeal, lead int) error {
		one := t.follower(lead)
		t.lab.part(t.others(one), []int{one})
		return t.lab.apply()
	}},
	{name: "nobody hears a follower", begin: func(t *ordeal, lead int) error {
		one := t.follower(lead)
		t.lab.part([]int{one}, t.others(one))
		return t.lab.apply()
	}},
	{name: "the leader and a follower do not see each other", begin: func(t *ordeal, lead int) error {
		t.lab.partBothWays([]int{lead}, []int{t.follower(lead)})
		return t.lab.apply()
	}},
	{name: "only one member sees all others", begin: func(t *ordeal, lead int) error {
		hub := t.follower(lead)
		for _, a := range t.others(hub) {
			t.lab.part([]int{a}, t.others(hub, a))
		}
		return t.lab.apply()
	}},
	{name: "the leader flaps", begin: func(t *ordeal, lead int) error { return t.flap(lead) }},
	{name: "a follower flaps", begin: func(t *ordeal, lead int) error { return t.flap(t.follower(lead)) }},
	{name: "20 % of packets are lost", begin: func(t *ordeal, _ int) error {
		t.lab.loss = 20
		return t.lab.apply()
	}},
	{name: "packets take 100 ms", needsDelay: true, begin: func(t *ordeal, _ int) error {
		return t.lab.lengthen(100 * time.Millisecond)
	}},
	{name: "packets take 50 ms and 10 % are lost", needsDelay: true, begin: func(t *ordeal, _ int) error {
		t.lab.loss = 10
		if err := t.lab.apply(); err != nil {
			return err
		}
		return t.lab.lengthen(50 * time.Millisecond)
	}},
	{name: "the leader is killed", begin: func(t *ordeal, lead int) error {
		t.members[lead].Kill()
		return nil
	}},
	{name: "a follower is killed", begin: func(t *ordeal, lead int) error {
		t.members[t.follower(lead)].Kill()
		return nil
	}},
	{name: "all are killed", begin: func(t *ordeal, _ int) error {
		for _, m := range t.members {
			m.Kill()
		}
		for _, m := range t.members {
			if err := m.Start(t.members); err != nil {
				return err
			}
		}
		return cluster.AwaitAllReady(t.ctx, t.members)
	}},
	{name: "the leader is stopped", begin: func(t *ordeal, lead int) error {
		t.members[lead].Pause()
		return nil
	}},
	{name: "a follower is stopped", begin: func(t *ordeal, lead int) error {
		t.members[t.follower(lead)].Pause()
		return nil
	}},
	{name: "the leader is cut off, and killed there", begin: func(t *ordeal, lead int) error {
		t.lab.partBothWays([]int{lead}, t.others(lead))
		if err := t.lab.apply(); err != nil {
			return err
		}
		if err := t.goOn(); err != nil {
			return err
		}
		t.members[lead].Kill()
		return t.members[lead].Start(t.members)
	}},
	{name: "the leader is stopped while a follower is cut off from the rest, then wakes", begin: func(t *ordeal, lead int) error {
		one := t.follower(lead)
		t.lab.partBothWays([]int{one}, t.others(one, lead))
		if err := t.lab.apply(); err != nil {
			return err
		}
		t.members[lead].Pause()
		select {
		case <-time.After(2 * electionTimeout):
		case <-t.ctx.Done():
		}
		t.members[lead].Resume()
		return nil
	}},
}

// others is everybody but these.
func (t *ordeal) others(but ...int) (others []int) {
	for i := range t.members {
		if !slices.Contains(but, i) {
			others = append(others, i)
		}
	}
	return others
}

// some is n of these.
func (t *ordeal) some(of []int, n int) (some []int) {
	for _, i := range t.dice.Perm(len(of))[:n] {
		some = append(some, of[i])
	}
	return some
}

func (t *ordeal) follower(lead int) int { return t.some(t.others(lead), 1)[0] }

// flap cuts a member off and lets it come back, several times, around the election timeout.
func (t *ordeal) flap(one int) error {
	for range 4 {
		t.lab.partBothWays([]int{one}, t.others(one))
		if err := t.lab.apply(); err != nil {
			return err
		}
		t.rest()
		if err := t.lab.heal(); err != nil {
			return err
		}
		t.rest()
	}
	return nil
}

func (t *ordeal) rest() {
	select {
	case <-time.After(electionTimeout/4 + time.Duration(t.dice.Int64N(int64(electionTimeout)))):
	case <-t.ctx.Done():
	}
}
