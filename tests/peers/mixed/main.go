// Mixed lets etcd and the server under test be members of one cluster, one of these and two of those and the other way
// round, under a load of reads, writes, txns, leases and compactions through all of them, while
//
//   - the leader is moved to either kind, and killed;
//   - followers of both kinds are killed and come back;
//   - followers are away until the leader, of the other kind, has to send them a snapshot;
//   - members of either kind are added through the other, and removed.
//
// Throughout, all members give the same hash at many revisions, and watches tell everything once and in order. In the
// end every acknowledged write is there, and all requests can have happened in the order of their revisions.
//
//	mixed -subject build/release/bin/keelson
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"keelson.dev/tests/peers/internal/cluster"
	"keelson.dev/tests/peers/internal/history"
	"keelson.dev/tests/peers/internal/trial"
)

type options struct {
	subject, oracle string
	rounds          int
	seed            uint64
	clients         int
	only            int
	verbose         bool
}

func main() {
	var o options
	flag.StringVar(&o.subject, "subject", os.Getenv("KEELSON_BIN"), "server under test (default $KEELSON_BIN, else etcd)")
	flag.StringVar(&o.oracle, "oracle", trial.Oracle(), "etcd")
	flag.IntVar(&o.rounds, "n", 1, "rounds of troubles in each cluster; one takes some 20 s")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of the load and of who is hit; 0: a new one")
	flag.IntVar(&o.clients, "clients", 6, "concurrent clients")
	flag.IntVar(&o.only, "only", 0, "1: two of the subject and one etcd; 2: the other way round; 0: both, one after the other")
	flag.BoolVar(&o.verbose, "verbose", false, "say what is done")
	flag.Parse()
	ctx, stop := trial.Begin("mixed", &o.subject, o.oracle, &o.seed)
	defer stop()
	fmt.Printf("mixed: seed %d\n", o.seed)
	for i, kinds := range [][]string{{o.oracle, o.subject, o.subject}, {o.subject, o.oracle, o.oracle}} {
		if o.only != 0 && o.only != i+1 {
			continue
		}
		if err := o.run(ctx, kinds); err != nil {
			fmt.Printf("FAIL mixed, seed %d: %v\n", o.seed, err)
			os.Exit(1)
		}
	}
	fmt.Println("PASS mixed")
}

// mix is one cluster and what goes on in it.
type mix struct {
	options
	ctx      context.Context
	dir      string
	dice     *rand.Rand
	log      *history.Log
	traffic  *history.Traffic
	hashes   int // revisions at which all members were found equal
	story    *trial.Story
	made     int
	mu       sync.Mutex
	voters   []*cluster.Member
	everyone []*cluster.Member // also who was removed
}

const snapshotCount, catchUpEntries = 200, 50

func (o options) run(ctx context.Context, kinds []string) error {
	return trial.InDirectory("mixed", func(dir string) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		m := &mix{options: o, ctx: ctx, dir: dir, dice: rand.New(rand.NewPCG(o.seed, 7)), story: trial.NewStory(o.verbose), log: &history.Log{}}
		defer func() {
			for _, each := range m.everyone {
				each.Close()
			}
		}()
		return m.story.With(m.start(kinds), m.everyone, 12)
	})
}

func (m *mix) start(kinds []string) error {
	for _, kind := range kinds {
		each, err := m.member(kind)
		if err != nil {
			return err
		}
		m.voters = append(m.voters, each)
	}
	for _, each := range m.voters {
		if err := each.Start(m.voters); err != nil {
			return err
		}
	}
	if err := cluster.AwaitAllReady(m.ctx, m.voters); err != nil {
		return err
	}
	return m.live()
}

func (m *mix) kindOf(each *cluster.Member) string {
	if each.Bin == m.subject {
		return "subject"
	}
	return "etcd"
}

func (m *mix) member(bin string) (*cluster.Member, error) {
	m.made++
	each, err := cluster.New(m.dir, fmt.Sprintf("m%d", m.made), bin, "--heartbeat-interval=100", "--election-timeout=1000",
		fmt.Sprintf("--snapshot-count=%d", snapshotCount), fmt.Sprintf("--snapshot-catchup-entries=%d", catchUpEntries))
	if err == nil {
		m.everyone = append(m.everyone, each)
	}
	return each, err
}

func (m *mix) current() []*cluster.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.voters)
}

func (m *mix) setVoters(voters []*cluster.Member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.voters = voters
}

// pick is any member that runs.
func (m *mix) pick(dice *rand.Rand) *grpc.ClientConn {
	voters := slices.DeleteFunc(m.current(), func(each *cluster.Member) bool { return !each.Awake() })
	if len(voters) == 0 {
		return nil
	}
	return voters[dice.IntN(len(voters))].Conn
}

// live runs the load and the troubles, and judges.
func (m *mix) live() error {
	m.traffic = &history.Traffic{Log: m.log, Pick: m.pick, Timeout: 3 * time.Second, Pause: 3 * time.Millisecond, Seed: m.seed}
	var watching sync.WaitGroup
	watch, stopWatching := context.WithCancel(m.ctx)
	defer watching.Wait()
	defer stopWatching()
	for i := range 2 {
		dice := rand.New(rand.NewPCG(m.seed, uint64(50+i)))
		watching.Go(func() {
			m.log.Follow(watch, fmt.Sprintf("watcher %d", i), func() *grpc.ClientConn { return m.pick(dice) })
		})
	}
	m.traffic.Start(m.ctx, m.clients, 2, true)
	var hashing sync.WaitGroup
	var hashErr error
	hash, stopHashing := context.WithCancel(m.ctx)
	hashing.Go(func() { hashErr = m.compareHashes(hash) })

	err := m.troubles()
	m.story.Tell("the load stops")
	m.traffic.Stop()
	stopHashing()
	hashing.Wait()
	return errors.Join(err, hashErr, m.traffic.Broken(), m.judge())
}

// compareHashes compares the hashes of all members again and again, at any revision that they keep.
func (m *mix) compareHashes(ctx context.Context) error {
	dice := rand.New(rand.NewPCG(m.seed, 99))
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
		floor, last := m.traffic.Compacted.Load(), m.log.Last()
		if last <= floor+1 {
			continue
		}
		names, conns := m.doors()
		if len(conns) < 3 {
			continue
		}
		known, err := history.SameHash(ctx, names, conns, floor+1+dice.Int64N(last-floor))
		if err != nil {
			return err
		}
		if known {
			m.hashes++
		}
	}
	return nil
}

func (m *mix) doors() (names []string, conns []*grpc.ClientConn) {
	for _, each := range m.current() {
		if each.Awake() {
			names = append(names, each.Name+" ("+m.kindOf(each)+")")
			conns = append(conns, each.Conn)
		}
	}
	return names, conns
}

func (m *mix) troubles() error {
	for range m.rounds {
		for _, kind := range []string{"etcd", "subject"} {
			for _, each := range []func(string) error{m.lead, m.killFollowers, m.feed, m.killLeader} {
				if err := each(kind); err != nil {
					return err
				}
				if err := m.traffic.Broken(); err != nil {
					return err
				}
			}
		}
		if err := m.comeAndGo(); err != nil {
			return err
		}
	}
	return nil
}

// lead has a member of the kind lead.
func (m *mix) lead(kind string) error {
	return cluster.Until(m.ctx, "a member of "+kind+" leads", func(ctx context.Context) error {
		leader := cluster.Leader(ctx, m.current())
		if leader == nil {
			return errors.New("nobody leads")
		}
		if m.kindOf(leader) == kind {
			m.story.Tell("%s (%s) leads", leader.Name, kind)
			return nil
		}
		to := m.some(func(each *cluster.Member) bool { return m.kindOf(each) == kind })
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if _, err := pb.NewMaintenanceClient(leader.Conn).MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: to.Id}); err != nil {
			return err
		}
		return errors.New("asked for")
	})
}

// some is any member of which that is true; nil: there is none.
func (m *mix) some(is func(*cluster.Member) bool) *cluster.Member {
	fit := slices.DeleteFunc(m.current(), func(each *cluster.Member) bool { return !is(each) })
	if len(fit) == 0 {
		return nil
	}
	return fit[m.dice.IntN(len(fit))]
}

func (m *mix) restart(each *cluster.Member) error {
	if err := each.Start(m.current()); err != nil {
		return err
	}
	if err := each.AwaitReady(m.ctx); err != nil {
		return err
	}
	m.story.Tell("%s (%s) is back", each.Name, m.kindOf(each))
	return m.goOn()
}

func (m *mix) goOn() error { return trial.GoOn(m.ctx, m.traffic, 100, m.current()) }

// killFollowers kills a follower of each kind that has one.
func (m *mix) killFollowers(string) error {
	for _, kind := range []string{"etcd", "subject"} {
		leader, err := cluster.AwaitLeader(m.ctx, m.current())
		if err != nil {
			return err
		}
		hit := m.some(func(each *cluster.Member) bool { return each != leader && m.kindOf(each) == kind })
		if hit == nil {
			continue
		}
		m.story.Tell("kill %s (%s), a follower", hit.Name, kind)
		hit.Kill()
		if err := m.goOn(); err != nil {
			return err
		}
		if err := m.restart(hit); err != nil {
			return err
		}
	}
	return nil
}

func snapshots(each *cluster.Member) int { return strings.Count(each.Log(), "applied snapshot") }

// feed keeps a follower of the other kind away until the log has gone on without it.
func (m *mix) feed(kind string) error {
	// A leader that has sent a snapshot keeps its log for half a minute, of either kind: take one that has not.
	for _, each := range m.current() {
		if m.kindOf(each) != kind {
			continue
		}
		m.story.Tell("restart %s (%s)", each.Name, kind)
		each.Kill()
		if err := m.restart(each); err != nil {
			return err
		}
	}
	if err := m.lead(kind); err != nil {
		return err
	}
	away := m.some(func(each *cluster.Member) bool { return m.kindOf(each) != kind })
	for range 5 {
		before := snapshots(away)
		away.Kill()
		leader, err := cluster.AwaitLeader(m.ctx, m.current())
		if err != nil {
			return err
		}
		at, err := leader.Status(m.ctx)
		if err != nil {
			return err
		}
		m.story.Tell("kill %s (%s), until %s (%s) has forgotten what it lacks", away.Name, m.kindOf(away), leader.Name, m.kindOf(leader))
		err = cluster.Until(m.ctx, "the log goes on", func(ctx context.Context) error {
			now, err := leader.Status(ctx)
			if err == nil && now.RaftIndex < at.RaftIndex+2*snapshotCount+catchUpEntries {
				err = fmt.Errorf("from %d to %d", at.RaftIndex, now.RaftIndex)
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := m.restart(away); err != nil {
			return err
		}
		if snapshots(away) > before {
			m.story.Tell("by a snapshot")
			return nil
		}
		// It may have been there just before the leader forgot, or the leader is another one: once more.
	}
	return fmt.Errorf("%s never had to take a snapshot", away.Name)
}

func (m *mix) killLeader(string) error {
	leader, err := cluster.AwaitLeader(m.ctx, m.current())
	if err != nil {
		return err
	}
	m.story.Tell("kill %s (%s), the leader", leader.Name, m.kindOf(leader))
	leader.Kill()
	if err := m.goOn(); err != nil {
		return err
	}
	return m.restart(leader)
}

// comeAndGo adds a member of each kind through one of the other, and removes it again through one of the other.
func (m *mix) comeAndGo() error {
	for _, bin := range []string{m.subject, m.oracle} {
		by := m.some(func(each *cluster.Member) bool { return each.Bin != bin || m.subject == m.oracle })
		came, err := m.come(bin, by)
		if err != nil {
			return err
		}
		if err := m.goOn(); err != nil {
			return err
		}
		if err := m.leave(came, by); err != nil {
			return err
		}
	}
	return nil
}

func (m *mix) come(bin string, by *cluster.Member) (*cluster.Member, error) {
	came, err := m.member(bin)
	if err != nil {
		return nil, err
	}
	m.story.Tell("%s (%s) is added by %s (%s)", came.Name, m.kindOf(came), by.Name, m.kindOf(by))
	// etcd lets nobody in before connections have been good for five seconds.
	err = cluster.Until(m.ctx, "a member may be added", func(ctx context.Context) error {
		r, err := pb.NewClusterClient(by.Conn).MemberAdd(ctx,
			&pb.MemberAddRequest{PeerURLs: []string{"http://" + came.Peer}, IsLearner: true})
		if err == nil {
			came.Id = r.Member.ID
		} else if again := m.listed(ctx, by, came); again != 0 { // it was, and the answer was lost
			came.Id = again
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	m.story.Tell("it is a learner")
	// Whomever it asks at its start has to have heard of it, or it gives up, of either kind.
	for _, each := range m.current() {
		err := cluster.Until(m.ctx, each.Name+" knows of "+came.Name, func(ctx context.Context) error {
			if m.listed(ctx, each, came) == 0 {
				return errors.New("not yet")
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if err := came.Start(append(m.current(), came), "--initial-cluster-state=existing"); err != nil {
		return nil, err
	}
	err = cluster.Until(m.ctx, "the learner may be promoted", func(ctx context.Context) error {
		if !came.Running() {
			return cluster.Never{Err: errors.New("it has ended")}
		}
		_, err := pb.NewClusterClient(by.Conn).MemberPromote(ctx, &pb.MemberPromoteRequest{ID: came.Id})
		if err != nil && strings.Contains(err.Error(), "not a learner") {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	m.story.Tell("it is promoted")
	if err := came.AwaitReady(m.ctx); err != nil {
		return nil, err
	}
	m.story.Tell("it is ready")
	m.setVoters(append(m.current(), came))
	return came, nil
}

// listed is the id of a member that is known by its URL; 0: it is not.
func (m *mix) listed(ctx context.Context, by, whom *cluster.Member) uint64 {
	r, err := pb.NewClusterClient(by.Conn).MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
	if err != nil {
		return 0
	}
	for _, each := range r.Members {
		if slices.Contains(each.PeerURLs, "http://"+whom.Peer) {
			return each.ID
		}
	}
	return 0
}

func (m *mix) leave(whom, by *cluster.Member) error {
	m.story.Tell("%s (%s) is removed by %s (%s)", whom.Name, m.kindOf(whom), by.Name, m.kindOf(by))
	m.setVoters(slices.DeleteFunc(m.current(), func(each *cluster.Member) bool { return each == whom }))
	err := cluster.Until(m.ctx, "a member may be removed", func(ctx context.Context) error {
		_, err := pb.NewClusterClient(by.Conn).MemberRemove(ctx, &pb.MemberRemoveRequest{ID: whom.Id})
		if err != nil && strings.Contains(err.Error(), "member not found") {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := whom.AwaitEnd(m.ctx); err != nil {
		return err
	}
	return m.goOn()
}

func (m *mix) judge() error {
	voters := m.current()
	last, summary, err := trial.Judge(m.ctx, m.traffic, voters)
	if err != nil {
		return err
	}
	if m.hashes < 10 {
		return fmt.Errorf("hashes of all members were compared only %d times under load", m.hashes)
	}
	fmt.Printf("mixed: %s and two of %s: revision %d, %v; hashes equal %d times under load and 30 times at the end; %.0f s\n",
		m.kindOf(voters[0]), m.kindOf(voters[1]), last, summary, m.hashes, m.story.Elapsed().Seconds())
	return nil
}
