package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/rafttest"
	"go.etcd.io/raft/v3/tracker"
)

// A generator writes a script while etcd's raft answers it, so that it knows what would make sense next. Not all it
// writes makes sense.
type generator struct {
	*environment
	random *rand.Rand
	theme  theme
	async  bool
	adopts bool // what nodes are restored from; else they only have an old state, as in etcd's own scripts
	steps  []step
	ended  string // why the script is over, if something else than its length
}

// A theme is what a script has more of than others.
type theme int

const (
	plain     theme = iota
	storm           // elections and losses, so that logs part
	snapshots       // compaction, and followers that are too far behind
	changes         // of the configuration
	themes
)

// generate writes the script of a seed.
func generate(seed uint64, commands int) ([]step, string) {
	g := &generator{environment: newEnvironment(), random: rand.New(rand.NewPCG(seed, 0x6b65656c))}
	g.theme = theme(g.one(int(themes)))
	g.adopts = g.one(2) == 0
	g.found()
	if g.ended != "" {
		panic(g.ended) // options that etcd's raft refuses
	}
	if g.one(4) == 0 {
		g.do("log-level %s", g.level())
	}
	if g.one(3) > 0 {
		g.do("campaign %d", g.node())
		g.do("stabilize")
	}
	for len(g.steps) < commands && g.ended == "" {
		g.act()
	}
	g.do("log-level debug")
	g.do("raft-state")
	g.do("stabilize")
	for id := range g.Nodes {
		g.do("status %d", id+1)
		g.do("raft-log %d", id+1)
	}
	return g.steps, g.ended
}

func (g *generator) do(format string, args ...any) {
	if g.ended != "" {
		return
	}
	command := fmt.Sprintf(format, args...)
	output, err := g.run(command)
	if err != nil {
		g.ended = fmt.Sprintf("%s: %v", command, err)
		return
	}
	g.steps = append(g.steps, step{command, output})
	if !g.async && strings.Contains(output, "can't apply snapshot and entries at the same time") {
		g.ended = "rafttest cannot go on" // the Ready is lost
	}
}

// one returns a number below n.
func (g *generator) one(n int) int { return g.random.IntN(n) }

func (g *generator) pick(of ...string) string { return of[g.one(len(of))] }

func (g *generator) level() string {
	if g.limited {
		return g.pick("debug", "info") // so that run sees when sizes differ
	}
	return g.pick("debug", "info", "warn", "error", "none")
}

func (g *generator) node() int { return 1 + g.one(len(g.Nodes)) }

func (g *generator) nodes(what func(n *rafttest.Node) bool) (ids []int) {
	for i := range g.Nodes {
		if what(&g.Nodes[i]) {
			ids = append(ids, i+1)
		}
	}
	return ids
}

// nodeThat prefers nodes of a kind.
func (g *generator) nodeThat(what func(n *rafttest.Node) bool) int {
	ids := g.nodes(what)
	if len(ids) == 0 || g.one(10) == 0 {
		return g.node()
	}
	return ids[g.one(len(ids))]
}

func leads(n *rafttest.Node) bool { return n.BasicStatus().RaftState == raft.StateLeader }

func (g *generator) idList(ids []int) string {
	return "(" + strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]") + ")"
}

// found adds the nodes: members from a common snapshot, and perhaps some that are to join.
func (g *generator) found() {
	nodes := 1 + g.one(5)
	members := 1 + g.one(nodes)
	if g.one(3) > 0 {
		members = nodes
	}
	var voters, learners []int
	for id := 1; id <= members; id++ {
		if id > 1 && g.one(5) == 0 {
			learners = append(learners, id)
		} else {
			voters = append(voters, id)
		}
	}
	options := g.options()
	first := fmt.Sprintf("add-nodes %d voters=%s", members, g.idList(voters))
	if len(learners) > 0 {
		first += " learners=" + g.idList(learners)
	}
	g.do("%s index=%d%s", first, 2+g.one(10), options)
	if members < nodes {
		g.do("add-nodes %d%s", nodes-members, options)
	}
}

func (g *generator) options() string {
	var out strings.Builder
	on := func(chance int, format string, args ...any) bool {
		if g.one(chance) != 0 {
			return false
		}
		fmt.Fprintf(&out, " "+format, args...)
		return true
	}
	g.async = on(2, "async-storage-writes=true")
	on(2, "prevote=true")
	if on(2, "checkquorum=true") {
		on(3, "read-only=lease-based")
	}
	on(4, "inflight=%d", 1+g.one(4))
	on(6, "step-down-on-removal=true")
	on(10, "disable-conf-change-validation=true")
	on(5, "max-committed-size-per-ready=%d", 1+g.one(60))
	on(5, "max-uncommitted-size=%d", 1+g.one(60))
	if on(4, "max-size-per-msg=%d", g.one(60)) {
		on(2, "max-inflight-bytes=%d", 60+g.one(60))
		if !strings.Contains(out.String(), "max-committed-size") {
			out.WriteString(" max-committed-size-per-ready=1000") // its default is the other limit, which may be 0
		}
	}
	on(12, "disable-proposal-forwarding=true")
	return out.String()
}

// act does one thing, as often as it is listed here by its weight.
func (g *generator) act() {
	for i := range g.Nodes {
		if n := &g.Nodes[i]; g.adopts && index(snapshotOf(n)) > index(newest(n)) {
			g.do("adopt-snapshot %d", i+1)
			return
		}
	}
	actions := []struct {
		weight int
		do     func()
	}{
		{26, g.processReady}, {24, g.deliver}, {g.only(g.async, 22), g.work}, {10, g.propose}, {5, g.stabilize},
		{5, g.tick}, {3 + g.only(g.theme == storm, 6), g.campaign},
		{2 + g.only(!g.limited, 3) + g.only(g.theme == changes, 6), g.changeConf},
		{2, g.transfer}, {4, g.read}, {2 + g.only(g.theme == snapshots, 6), g.compact},
		{1 + g.only(g.theme == snapshots, 4), g.leaveBehind}, {1 + g.only(g.theme == storm, 4), g.part},
		{1, func() { g.do("forget-leader %d", g.node()) }},
		{1, func() { g.do("report-unreachable %d %d", g.nodeThat(leads), g.node()) }},
		{1 + g.only(g.theme == snapshots, 4), g.sendSnapshot}, {1 + g.only(g.theme == snapshots, 4), g.reportSnapshot},
		{1, func() { g.do("restart %d", g.node()) }}, {2, g.look},
		{2, g.disturb},
	}
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	left := g.one(total)
	for _, a := range actions {
		if left -= a.weight; left < 0 {
			a.do()
			return
		}
	}
}

func (g *generator) only(when bool, weight int) int {
	if when {
		return weight
	}
	return 0
}

func (g *generator) processReady() {
	ready := func(n *rafttest.Node) bool { return n.HasReady() }
	if g.one(8) == 0 {
		g.do("process-ready %d %d", g.nodeThat(ready), g.nodeThat(ready))
		return
	}
	g.do("process-ready %d", g.nodeThat(ready))
}

func (g *generator) work() {
	if g.one(2) == 0 {
		g.do("process-append-thread %d", g.nodeThat(func(n *rafttest.Node) bool { return len(n.AppendWork) > 0 }))
	} else {
		g.do("process-apply-thread %d", g.nodeThat(func(n *rafttest.Node) bool { return len(n.ApplyWork) > 0 }))
	}
}

// addressees are the ids that messages wait for, some of which may be no node.
func (g *generator) addressees() []uint64 {
	to := map[uint64]bool{}
	for _, m := range g.Messages {
		to[m.GetTo()] = true
	}
	return slices.Sorted(maps.Keys(to))
}

func (g *generator) deliver() {
	waiting := g.addressees()
	if len(waiting) == 0 {
		g.processReady()
		return
	}
	to := waiting[g.one(len(waiting))]
	if g.one(7) == 0 || g.theme != plain && g.one(4) == 0 || to > uint64(len(g.Nodes)) {
		g.do("deliver-msgs drop=(%d)%s", to, g.messageType(to))
		return
	}
	command := fmt.Sprintf("deliver-msgs %d", to)
	if lost := waiting[g.one(len(waiting))]; lost != to && g.one(12) == 0 {
		command += fmt.Sprintf(" drop=(%d)", lost)
	}
	g.do("%s%s", command, g.messageType(to))
}

// disturb lets messages come twice, or in another order.
func (g *generator) disturb() {
	waiting := slices.DeleteFunc(g.addressees(), func(id uint64) bool { return id > uint64(len(g.Nodes)) })
	if len(waiting) > 0 {
		g.do("%s %d", g.pick("duplicate-msgs", "reverse-msgs"), waiting[g.one(len(waiting))])
	}
}

// messageType is a filter for a type that waits, so that messages of others are held back.
func (g *generator) messageType(to uint64) string {
	if g.one(3) != 0 {
		return ""
	}
	var types []string
	for _, m := range g.Messages {
		if m.GetTo() == to {
			types = append(types, m.GetType().String())
		}
	}
	return " type=" + g.pick(types...)
}

func (g *generator) propose() {
	data := strings.Repeat(string(rune('a'+g.one(26))), 1+g.one(3))
	if g.one(5) == 0 {
		data = strings.Repeat(data, 10)
	}
	g.do("propose %d %s", g.nodeThat(leads), data)
}

func (g *generator) stabilize() {
	command := "stabilize"
	if g.one(2) == 0 {
		for i := range g.Nodes {
			if g.one(2) == 0 {
				command += fmt.Sprintf(" %d", i+1)
			}
		}
	}
	if g.one(4) == 0 {
		command += " log-level=" + g.level()
	}
	g.do("%s", command)
}

// tick first takes chance out of the election timeout. It cannot come back within the ticks of one command: they
// are fewer than the shortest timeout.
func (g *generator) tick() {
	id := g.nodeThat(leads)
	g.do("set-randomized-election-timeout %d timeout=%d", id, 3+g.one(3))
	g.do("tick-%s %d", g.pick("heartbeat", "election"), id)
}

func (g *generator) campaign() {
	if len(g.nodes(leads)) > 0 && g.theme != storm && g.one(3) > 0 {
		g.processReady()
		return
	}
	g.do("campaign %d", g.node())
}

func (g *generator) changeConf() {
	id := g.nodeThat(leads)
	if g.one(6) == 0 {
		g.do("propose-conf-change %d", id) // leaves a joint configuration
		return
	}
	voters := maps.Clone(g.Nodes[id-1].Status().Config.Voters[0])
	var changes []string
	for range 1 + g.one(g.pickInt(1, 3)) {
		kind, of := g.pick("v", "v", "l", "r", "r", "u"), uint64(g.node())
		if g.one(15) == 0 {
			of = uint64(len(g.Nodes)) + 1 // nobody yet
		}
		switch kind {
		case "v":
			voters[of] = struct{}{}
		case "l", "r":
			delete(voters, of)
		}
		changes = append(changes, fmt.Sprintf("%s%d", kind, of))
	}
	if len(voters) == 0 && g.one(20) > 0 {
		return // applying it would be the end
	}
	options := g.pick("", "", " transition=auto", " transition=implicit", " transition=explicit")
	if len(changes) == 1 && g.one(3) == 0 {
		options = " v1=true"
	}
	g.do("propose-conf-change %d%s\n%s", id, options, strings.Join(changes, " "))
}

func (g *generator) pickInt(of ...int) int { return of[g.one(len(of))] }

func (g *generator) transfer() {
	g.do("transfer-leadership from=%d to=%d", g.nodeThat(leads), g.node())
}

func (g *generator) read() { g.do("read-index %d r%d", g.nodeThat(leads), len(g.steps)) }

// others are all nodes but one, in words.
func (g *generator) others(than int) (words string) {
	for id := 1; id <= len(g.Nodes); id++ {
		if id != than {
			words += fmt.Sprintf(" %d", id)
		}
	}
	return words
}

func (g *generator) dropFor(ids ...int) {
	for _, id := range ids {
		g.do("deliver-msgs drop=(%d)", id)
	}
}

// leaveBehind goes on without one node, and forgets what that node lacks.
func (g *generator) leaveBehind() {
	leader, behind := g.nodeThat(leads), g.node()
	if leader == behind || !leads(&g.Nodes[leader-1]) {
		return
	}
	for range 1 + g.one(3) {
		g.propose()
	}
	g.do("stabilize%s", g.others(behind))
	if g.one(4) > 0 {
		g.dropFor(behind)
	}
	if first, most := g.compactable(leader); most >= first && g.one(4) > 0 {
		g.do("compact %d %d", leader, most)
	}
	if g.one(3) > 0 {
		g.do("report-unreachable %d %d", leader, behind)
	}
	g.do("set-randomized-election-timeout %d timeout=5", leader)
	g.do("tick-heartbeat %d", leader)
	if g.one(2) == 0 {
		g.do("stabilize %d", leader)
		g.do("deliver-msgs %d", behind)
		g.do("process-ready %d", behind)
		g.do("deliver-msgs %d", leader)
	}
}

// part lets a leader write what nobody hears, and others elect another.
func (g *generator) part() {
	leader, next := g.nodeThat(leads), g.node()
	if leader == next || !leads(&g.Nodes[leader-1]) {
		return
	}
	for range 1 + g.one(4) {
		g.propose()
		if g.one(3) == 0 {
			g.do("process-ready %d", leader)
		}
	}
	g.do("stabilize %d", leader)
	for id := 1; id <= len(g.Nodes); id++ {
		if id != leader && g.one(4) > 0 {
			g.dropFor(id)
		}
	}
	g.do("campaign %d", next)
	g.do("stabilize%s", g.others(leader))
	if g.one(2) == 0 {
		g.dropFor(leader)
	}
}

// compactable are the entries that may go: not what may still be applied, also after a restart.
func (g *generator) compactable(id int) (first, most uint64) {
	n := &g.Nodes[id-1]
	hard, _, _ := n.Storage.InitialState()
	first, _ = n.Storage.FirstIndex()
	last, _ := n.Storage.LastIndex()
	return first, min(hard.GetCommit(), n.Status().Applied, last)
}

func (g *generator) compact() {
	id := g.node()
	if first, most := g.compactable(id); most >= first {
		g.do("compact %d %d", id, first+uint64(g.one(int(most-first)+1)))
	}
}

func (g *generator) sendSnapshot() {
	from, to := g.nodeThat(leads), g.node()
	if n := &g.Nodes[from-1]; from != to && leads(n) && index(newest(n)) > 0 {
		g.do("send-snapshot %d %d", from, to)
	}
}

func (g *generator) reportSnapshot() {
	from, to := g.nodeThat(leads), g.node()
	progress := g.Nodes[from-1].Status().Progress
	for _, id := range slices.Sorted(maps.Keys(progress)) {
		if progress[id].State == tracker.StateSnapshot && g.one(8) > 0 {
			to = int(id)
		}
	}
	g.do("report-snapshot %d %d%s", from, to, g.pick("", " failed=true"))
}

func (g *generator) look() {
	switch g.one(3) {
	case 0:
		g.do("raft-state")
	case 1:
		g.do("raft-log %d", g.node())
	default:
		g.do("status %d", g.nodeThat(leads))
	}
}
