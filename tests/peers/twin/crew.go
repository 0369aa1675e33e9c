package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"keelson.dev/tests/peers/internal/cluster"
)

// crew is the subject as a cluster: its members, whom the next action asks, and the troubles it is in. One trouble at
// a time; it begins in the middle of a call and ends some steps later, or as soon as a write has come to an unknown
// outcome.
type crew struct {
	members []*cluster.Member
	dir     string
	dice    *rand.Rand
	began   time.Time
	verbose bool
	step    int
	next    int            // the step before which the next trouble may begin
	trouble *trouble       // nil: all is well
	plotted *trouble       // it begins in the middle of the next call
	calm    bool           // nothing is written until somebody leads
	tales   []string       // what was done and came of it, the latest last
	count   map[string]int // of what happened, for the summary
	ghosts  []action       // writes of unknown outcome that were not there, and may be any time
}

type trouble struct {
	name             string
	leader, follower *cluster.Member
	hit              []*cluster.Member
	wait             time.Duration // from the begin of the call
	ends             int           // the step
}

var troubles = []string{"kill the leader", "kill the leader", "kill the leader", "kill a follower", "stop the leader",
	"stop the leader", "stop a follower", "kill two", "kill all", "move the leader"}

const talesKept = 80

func startCrew(ctx context.Context, o options, dir string) (*crew, error) {
	c := &crew{dir: dir, began: time.Now(), verbose: o.verbose, dice: rand.New(rand.NewPCG(o.seed, 0x63726577)), count: map[string]int{}}
	for i := range o.members {
		m, err := cluster.New(dir, fmt.Sprintf("m%d", i), o.subject, append(strings.Fields(o.extra),
			"--snapshot-count=1000", "--snapshot-catchup-entries=100", "--log-level=warn")...)
		if err != nil {
			return c, err
		}
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		if err := m.Start(c.members); err != nil {
			return c, err
		}
	}
	c.plan()
	return c, cluster.AwaitAllReady(ctx, c.members)
}

func (c *crew) close() {
	for _, m := range c.members {
		m.Close()
	}
}

func (c *crew) tell(format string, args ...any) {
	c.tales = append(c.tales, fmt.Sprintf("%6d %7.3f  ", c.step, time.Since(c.began).Seconds())+fmt.Sprintf(format, args...))
	if c.verbose {
		fmt.Println(c.tales[len(c.tales)-1])
	}
	if len(c.tales) > talesKept {
		c.tales = slices.Delete(c.tales, 0, len(c.tales)-talesKept)
	}
}

func (c *crew) story() string {
	return "\nthe story, by step and second:\n" + strings.Join(c.tales, "\n") + "\n" + cluster.LogTails(c.members, 15)
}

func (c *crew) plan() { c.next = c.step + 30 + c.dice.IntN(150) }

// route picks who is asked next. Now and then it is one that sleeps: what was said to it may come to pass once it wakes.
func (c *crew) route() int {
	for {
		i := c.dice.IntN(len(c.members))
		m := c.members[i]
		if m.Awake() || (m.Running() && c.dice.IntN(40) == 0) {
			return i
		}
	}
}

// beforeStep ends a trouble that has lasted, and begins a new one when it is time.
func (x *execution) beforeStep() {
	c := x.crew
	c.step++
	switch {
	case c.trouble != nil && c.step >= c.trouble.ends:
		x.heal()
	case c.trouble == nil && c.plotted == nil && c.step >= c.next:
		x.plotTrouble()
	}
	if c.calm && cluster.Leader(x.ctx, c.members) != nil {
		c.calm = false
	}
}

// plotTrouble lays out what befalls the cluster in the middle of the next call.
func (x *execution) plotTrouble() {
	c := x.crew
	leader, err := cluster.AwaitLeader(x.ctx, c.members)
	if err != nil {
		x.differ("trouble", "somebody leads", err.Error())
	}
	followers := slices.DeleteFunc(slices.Clone(c.members), func(m *cluster.Member) bool { return m == leader })
	follower := followers[c.dice.IntN(len(followers))]
	t := &trouble{name: troubles[c.dice.IntN(len(troubles))], leader: leader, follower: follower,
		wait: time.Duration(c.dice.IntN(6000)) * time.Microsecond, ends: c.step + 1 + c.dice.IntN(120)}
	switch t.name {
	case "kill the leader", "stop the leader":
		t.hit = []*cluster.Member{leader}
		c.calm = c.dice.IntN(2) == 0
	case "kill a follower", "stop a follower":
		t.hit = []*cluster.Member{follower}
	case "kill two":
		t.hit, t.ends = []*cluster.Member{leader, follower}, 0
	case "kill all":
		t.hit, t.ends = c.members, 0
	case "move the leader":
		t.ends = 0
	}
	x.sync()
	c.plotted = t
}

// strike lets happen what was plotted.
func (x *execution) strike() {
	c, t := x.crew, x.crew.plotted
	time.Sleep(t.wait)
	if t.name == "move the leader" {
		ctx, cancel := context.WithTimeout(x.ctx, 10*time.Second)
		defer cancel()
		pb.NewMaintenanceClient(t.leader.Conn).MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: t.follower.Id})
	}
	for _, m := range t.hit {
		if strings.HasPrefix(t.name, "stop") {
			m.Pause()
		} else {
			m.Kill()
		}
	}
	if t.name == "kill two" || t.name == "kill all" { // without a quorum there is nothing to see
		for _, m := range t.hit {
			m.Start(c.members)
		}
	}
}

// struck notes that it has happened.
func (c *crew) struck() {
	t := c.plotted
	var names []string
	for _, m := range t.hit {
		names = append(names, m.Name)
	}
	c.tell("TROUBLE: %s %s, for %d steps", t.name, strings.Join(names, " "), max(0, t.ends-c.step))
	c.count[t.name]++
	c.trouble, c.plotted = t, nil
}

// heal brings everybody back and waits until each has all that was acknowledged.
func (x *execution) heal() {
	c := x.crew
	for _, m := range c.members {
		if m.Paused() {
			m.Resume()
		}
		if !m.Running() {
			if err := m.Start(c.members); err != nil {
				x.differ("trouble", "a member starts again", err.Error())
			}
		}
	}
	if err := cluster.AwaitAllReady(x.ctx, c.members); err != nil {
		x.differ("trouble", "all members serve again", err.Error())
	}
	if c.trouble != nil {
		c.tell("all is well again")
	}
	c.trouble, c.calm = nil, false
	c.plan()
}

// leaveDoor ends all watchers at one member; the watcher of everything goes on at another.
func (x *execution) leaveDoor(i int) {
	for _, stream := range slices.Clone(x.openStreams()) {
		if stream%len(x.crew.members) == i {
			x.dropStream(stream)
		}
	}
	if x.referenceDoor == i {
		x.referenceDoor = (i + 1 + x.crew.dice.IntN(len(x.crew.members)-1)) % len(x.crew.members)
		x.openReference()
	}
}

func (x *execution) openStreams() (open []int) {
	for stream := range x.sides[0].streams {
		open = append(open, stream)
	}
	slices.Sort(open)
	return open
}

// enter chooses whom the action asks, and sees to it that who may lag does not. False: it cannot be done now.
func (x *execution) enter(a action) bool {
	c, s := x.crew, x.sides[1]
	s.deadline = patience
	if c.trouble != nil {
		s.deadline = 2 * time.Second
	}
	switch a.kind {
	case "sync":
		return true
	case "grant-any", "restart":
		return false
	case "watch", "cancel", "progress", "close", "half-close":
		s.at = a.stream % len(c.members)
		if !c.members[s.at].Awake() {
			return false
		}
	case "expire":
		x.heal()
		s.at = c.route()
	default:
		s.at = c.route()
	}
	writes := a.writes()
	if strings.HasPrefix(a.method, "Auth/") || a.method == "Maintenance/Hash" || (c.calm && writes) {
		return false
	}
	if !writes && c.members[s.at].Awake() {
		x.catchUp()
	}
	return true
}

// catchUp waits until who is asked has all that was acknowledged.
func (x *execution) catchUp() {
	c, s := x.crew, x.sides[1]
	err := cluster.Until(x.ctx, "a linearizable read is answered", func(context.Context) error {
		got := s.invoke("KV/Range", &pb.RangeRequest{Key: []byte{0}, CountOnly: true}, nil)
		if got.unknown() {
			x.goElsewhere()
			return errors.New(got.String())
		}
		read, ok := got.message.(*pb.RangeResponse)
		if !ok || s.offsets.here(read.Header.Revision) < x.revision {
			x.differ("catching up", fmt.Sprintf("a linearizable read of revision %d or later", x.revision),
				fmt.Sprintf("%s: %v", c.members[s.at].Name, got))
		}
		return nil
	})
	if err != nil {
		x.differ("catching up", "an answer in the end", fmt.Sprintf("%s: %v", c.members[s.at].Name, err))
	}
}

// catchUpAt does that for the member at which a stream is: its answers tell revisions, and one that comes of another
// action may be asked for anywhere. Who is asked stays the same.
func (x *execution) catchUpAt(stream int) {
	if x.crew == nil {
		return
	}
	s := x.sides[1]
	defer func(asked int) { s.at = asked }(s.at)
	if s.at = stream % len(x.crew.members); x.crew.members[s.at].Awake() {
		x.catchUp()
	}
}

// goElsewhere asks another member, if the one asked is out of reach; watches stay where they are.
func (x *execution) goElsewhere() {
	c, s := x.crew, x.sides[1]
	if !c.members[s.at].Awake() {
		s.at = c.route()
	}
}

// askBothAmid is askBoth, with what was plotted in its midst. Watchers at who is hit end at both sides.
func (x *execution) askBothAmid(a action, do func(*side) answer) [2]answer {
	if x.crew == nil || x.crew.plotted == nil || a.kind != "call" {
		return x.askBoth(do)
	}
	asked := x.sides[1].at
	for i, m := range x.crew.members {
		if slices.Contains(x.crew.plotted.hit, m) {
			x.sides[1].doors[i].keepalive = nil
			x.leaveDoor(i)
		}
	}
	x.sides[1].at = asked
	var strike sync.WaitGroup
	strike.Go(x.strike)
	answers := x.askBoth(do)
	strike.Wait()
	x.crew.struck()
	return answers
}

// startCrewSide is startSide for a cluster.
func startCrewSide(ctx context.Context, o options, t *twist, asked services) (*side, error) {
	dir, err := os.MkdirTemp("", "keelson-twin-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &side{name: "subject", ctx: ctx, cancel: cancel, twist: t, asked: asked, deadline: patience, unsigned: true,
		offsets: &offsets{steps: []offset{{}}}, streams: map[int]*watchStream{}}
	s.config.Name, s.config.Bin, s.config.Dir = "subject", o.subject, dir
	if s.crew, err = startCrew(ctx, o, dir); err != nil {
		err = fmt.Errorf("%w\n%s", err, cluster.LogTails(s.crew.members, 15))
		s.close()
		return nil, err
	}
	for _, m := range s.crew.members {
		s.doors = append(s.doors, &door{conn: m.Conn})
	}
	return s, nil
}
