// Package trial is what the long tests have in common: how they begin, what they tell of what they did, how they wait
// until a cluster gets on, and how they judge it in the end.
package trial

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"keelson.dev/tests/peers/internal/cluster"
	"keelson.dev/tests/peers/internal/history"
)

// Oracle is the etcd that lies beside this program, however it was called.
func Oracle() string {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	return filepath.Join(filepath.Dir(program), "etcd")
}

// Begin fills in what no flag has said: etcd itself as what is tested, a new seed. The context ends when the test is
// told to.
func Begin(name string, subject *string, oracle string, seed *uint64) (context.Context, context.CancelFunc) {
	if *subject == "" {
		*subject = oracle
		fmt.Printf("%s: no -subject and no KEELSON_BIN: testing etcd itself\n", name)
	}
	if *seed == 0 {
		*seed = rand.Uint64N(1_000_000_000) + 1
	}
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// InDirectory runs the test in a directory of its own, which stays if it fails: then the error says where.
func InDirectory(name string, test func(dir string) error) error {
	dir, err := os.MkdirTemp("", "keelson-"+name+"-")
	if err != nil {
		return err
	}
	if err := test(dir); err != nil {
		return fmt.Errorf("%w\n  the data and the logs stay in %s", err, dir)
	}
	return os.RemoveAll(dir)
}

// Story is what was done, by second.
type Story struct {
	Aloud bool // also while it happens
	began time.Time
	lines []string
}

func NewStory(aloud bool) *Story { return &Story{Aloud: aloud, began: time.Now()} }

func (s *Story) Elapsed() time.Duration { return time.Since(s.began) }

func (s *Story) Tell(format string, args ...any) {
	line := fmt.Sprintf("%7.2f  ", s.Elapsed().Seconds()) + fmt.Sprintf(format, args...)
	s.lines = append(s.lines, line)
	if s.Aloud {
		fmt.Println(line)
	}
}

// With adds the story to an error, and what the members logged last.
func (s *Story) With(err error, members []*cluster.Member, logLines int) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\nthe story:\n%s\n%s", err, strings.Join(s.lines, "\n"), cluster.LogTails(members, logLines))
}

// GoOn waits until so many more requests have been answered.
func GoOn(ctx context.Context, traffic *history.Traffic, count int64, members []*cluster.Member) error {
	before := traffic.Answered()
	err := cluster.Until(ctx, "requests are answered", func(context.Context) error {
		if now := traffic.Answered(); now < before+count {
			return fmt.Errorf("%d since", now-before)
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("%w%s", err, cluster.Describe(ctx, members))
	}
	return err
}

// Judge looks at everything once the load has stopped and all members are there: no lease is left, all have what the
// events add up to and the same hash at 30 revisions, and all requests can have happened in the order of their revisions.
func Judge(ctx context.Context, traffic *history.Traffic, members []*cluster.Member) (last int64, summary history.Summary, err error) {
	if err = leasesEnd(ctx, traffic); err != nil {
		return 0, summary, err
	}
	var names []string
	var conns []*grpc.ClientConn
	for _, m := range members {
		names, conns = append(names, m.Name), append(conns, m.Conn)
		if last, err = sameState(ctx, traffic.Log, m); err != nil {
			return 0, summary, err
		}
	}
	if err = history.AllSame(ctx, names, conns, max(0, traffic.Compacted.Load()), last, 30); err != nil {
		return 0, summary, err
	}
	summary, err = history.Check(&traffic.Ops, traffic.Log)
	return last, summary, err
}

func leasesEnd(ctx context.Context, traffic *history.Traffic) error {
	return cluster.Until(ctx, "all leases end", func(context.Context) error {
		if broken := traffic.Broken(); broken != nil {
			return cluster.Never{Err: broken}
		}
		if left := traffic.LeasesLeft(); left > 0 {
			return fmt.Errorf("%d are left", left)
		}
		return nil
	})
}

// sameState is the revision at which the member has what watchers were told.
func sameState(ctx context.Context, log *history.Log, m *cluster.Member) (int64, error) {
	var all *pb.RangeResponse
	err := cluster.Until(ctx, "everything is read", func(ctx context.Context) (err error) {
		all, err = pb.NewKVClient(m.Conn).Range(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
		return err
	})
	if err != nil {
		return 0, err
	}
	ctx, cancel := cluster.WithRunningTime(ctx, cluster.Patience)
	defer cancel()
	if err := log.AwaitAll(ctx, all.Header.Revision); err != nil {
		return 0, err
	}
	if err := log.SameState(all.Kvs); err != nil {
		return 0, fmt.Errorf("%s: %w", m.Name, err)
	}
	return all.Header.Revision, nil
}
