package history

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// Traffic is random clients: reads, writes, txns of few keys; leases that are kept alive for a while or not at all;
// compactions. Each request goes to any member. What fails is of unknown outcome and is not sent again.
type Traffic struct {
	Log     *Log
	Ops     Ops
	Pick    func(*rand.Rand) *grpc.ClientConn // a member to ask; nil: none now
	Timeout time.Duration                     // of a request
	Pause   time.Duration                     // of a client between two
	Seed    uint64

	answered  atomic.Int64
	Compacted atomic.Int64 // asked for, at most
	leases    sync.Map     // key -> *lease
	stop      chan struct{}
	running   sync.WaitGroup
	mu        sync.Mutex
	broken    error
}

// lease is one that a client holds; its key goes when it ends.
type lease struct {
	ttl     time.Duration
	renewed atomic.Int64 // when the last granted renewal was asked for, in nanoseconds since `epoch`
	revoked atomic.Bool  // asked for
	ended   atomic.Bool
}

var epoch = time.Now()

// A new leader may know of a renewal no more that its predecessor granted while it was being succeeded.
const renewalLost = time.Second

// Start sets out so many clients of keys and of leases, and one that compacts, if `compacts`.
func (t *Traffic) Start(ctx context.Context, clients, leases int, compacts bool) {
	t.stop = make(chan struct{})
	t.Log.OnDelete(t.deleted)
	run := func(name string, n int, once func(*client, context.Context)) {
		c := &client{t: t, name: name, dice: rand.New(rand.NewPCG(t.Seed, uint64(n)))}
		t.running.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-t.stop:
					return
				case <-time.After(t.Pause):
				}
				once(c, ctx)
			}
		})
	}
	for i := range clients {
		run(fmt.Sprintf("c%02d", i), i, (*client).once)
	}
	for i := range leases {
		run(fmt.Sprintf("l%02d", i), 1000+i, (*client).holdLease)
	}
	if compacts {
		run("compactor", 2000, (*client).compact)
	}
}

// Stop lets all requests under way come to their ends.
func (t *Traffic) Stop() {
	close(t.stop)
	t.running.Wait()
}

// Answered counts the requests of keys that were.
func (t *Traffic) Answered() int64 { return t.answered.Load() }

// Broken is what clients found wrong at once.
func (t *Traffic) Broken() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.broken, t.Log.Broken())
}

func (t *Traffic) breaks(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken == nil {
		t.broken = err
	}
}

// deleted is told of every delete: no key may go with its lease before its time.
func (t *Traffic) deleted(key string, at time.Time) {
	found, leased := t.leases.Load(key)
	if !leased {
		return
	}
	l := found.(*lease)
	l.ended.Store(true)
	due := time.Duration(l.renewed.Load()) + l.ttl - renewalLost
	if since := at.Sub(epoch); !l.revoked.Load() && since < due {
		t.breaks(fmt.Errorf("%s went with its lease %v before its time", key, due-since))
	}
}

// LeasesLeft counts the leases whose keys are not gone yet.
func (t *Traffic) LeasesLeft() (left int) {
	t.leases.Range(func(_, found any) bool {
		if !found.(*lease).ended.Load() {
			left++
		}
		return true
	})
	return left
}

type client struct {
	t     *Traffic
	name  string
	dice  *rand.Rand
	count int
}

func (c *client) value() string {
	c.count++
	return fmt.Sprintf("%s-%d", c.name, c.count)
}

// ask sends one request to any member. False: its outcome is unknown, or it was not sent.
func (c *client) ask(ctx context.Context, send func(context.Context, *grpc.ClientConn) error) bool {
	conn := c.t.Pick(c.dice)
	if conn == nil {
		time.Sleep(10 * time.Millisecond)
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, c.t.Timeout)
	defer cancel()
	if send(ctx, conn) == nil {
		return true
	}
	select { // whoever answers with errors shall not be asked for more of them at full speed
	case <-c.t.stop:
	case <-time.After(20 * time.Millisecond):
	}
	return false
}

// record asks and writes down what came of it.
func (c *client) record(ctx context.Context, op *Op, send func(context.Context, *grpc.ClientConn, *Op) error) bool {
	op.Who = c.name
	op.Call = time.Now()
	answered := c.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		if err := send(ctx, conn, op); err != nil {
			return err
		}
		op.Return = time.Now()
		return nil
	})
	if answered {
		c.t.answered.Add(1)
	}
	if answered || op.Writes {
		c.t.Ops.Add(op)
	}
	return answered
}

func (c *client) once(ctx context.Context) {
	key := fmt.Sprintf("k/%02d", c.dice.IntN(24))
	switch n := c.dice.IntN(100); {
	case n < 40:
		c.read(ctx, key)
	case n < 65:
		c.put(ctx, key, 0)
	case n < 80:
		c.update(ctx, key)
	case n < 92:
		c.pair(ctx)
	default:
		c.remove(ctx, key)
	}
}

func (c *client) read(ctx context.Context, key string) {
	c.record(ctx, &Op{Keys: []string{key}}, func(ctx context.Context, conn *grpc.ClientConn, op *Op) error {
		r, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte(key)})
		if err == nil {
			op.Revision, op.Read = r.Header.Revision, r.Kvs
		}
		return err
	})
}

func (c *client) put(ctx context.Context, key string, lease int64) bool {
	value := c.value()
	return c.record(ctx, &Op{Keys: []string{key}, Value: value, Writes: true},
		func(ctx context.Context, conn *grpc.ClientConn, op *Op) error {
			r, err := pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(value), Lease: lease})
			if err == nil {
				op.Revision, op.Wrote = r.Header.Revision, true
			}
			return err
		})
}

func putOp(key, value string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Value: []byte(value)}}}
}

// pair writes two keys that are never seen apart.
func (c *client) pair(ctx context.Context) {
	n := c.dice.IntN(8)
	keys, value := []string{fmt.Sprintf("p/left/%d", n), fmt.Sprintf("p/right/%d", n)}, c.value()
	c.record(ctx, &Op{Keys: keys, Value: value, Writes: true}, func(ctx context.Context, conn *grpc.ClientConn, op *Op) error {
		r, err := pb.NewKVClient(conn).Txn(ctx, &pb.TxnRequest{
			Success: []*pb.RequestOp{putOp(keys[0], value), putOp(keys[1], value)}})
		if err == nil {
			op.Revision, op.Wrote = r.Header.Revision, true
		}
		return err
	})
}

// update writes if nobody has since a serializable read, else it reads.
func (c *client) update(ctx context.Context, key string) {
	based := int64(0)
	c.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte(key), Serializable: true})
		if err == nil && len(r.Kvs) > 0 {
			based = r.Kvs[0].ModRevision
		}
		return err
	})
	value := c.value()
	c.record(ctx, &Op{Keys: []string{key}, Value: value, Writes: true},
		func(ctx context.Context, conn *grpc.ClientConn, op *Op) error {
			r, err := pb.NewKVClient(conn).Txn(ctx, &pb.TxnRequest{
				Compare: []*pb.Compare{{Key: []byte(key), Target: pb.Compare_MOD,
					TargetUnion: &pb.Compare_ModRevision{ModRevision: based}}},
				Success: []*pb.RequestOp{putOp(key, value)},
				Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte(key)}}}},
			})
			if err != nil {
				return err
			}
			op.Revision, op.Wrote = r.Header.Revision, r.Succeeded
			if !r.Succeeded {
				op.Writes, op.Value, op.Read = false, "", r.Responses[0].GetResponseRange().Kvs
			}
			return nil
		})
}

func (c *client) remove(ctx context.Context, key string) {
	c.record(ctx, &Op{Keys: []string{key}, Writes: true}, func(ctx context.Context, conn *grpc.ClientConn, op *Op) error {
		r, err := pb.NewKVClient(conn).DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte(key)})
		if err == nil {
			op.Revision, op.Wrote, op.Writes = r.Header.Revision, r.Deleted > 0, r.Deleted > 0
		}
		return err
	})
}

// holdLease grants a lease, hangs a key on it, and then keeps it for a while, lets it go, or revokes it.
func (c *client) holdLease(ctx context.Context) {
	id, key := c.dice.Int64N(1<<40)+1, "l/"+c.value()
	l := &lease{}
	asked := time.Since(epoch)
	if !c.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		r, err := pb.NewLeaseClient(conn).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: 3})
		if err == nil {
			l.ttl = time.Duration(r.TTL) * time.Second
		}
		return err
	}) {
		return
	}
	l.renewed.Store(int64(asked))
	c.t.leases.Store(key, l)
	if !c.put(ctx, key, id) {
		c.t.leases.Delete(key) // perhaps there, perhaps not; and perhaps gone before
		return
	}
	for n := c.dice.IntN(12); n > 0 && !l.ended.Load(); n-- {
		select {
		case <-c.t.stop:
			return
		case <-time.After(400 * time.Millisecond):
		}
		c.renew(ctx, l, id)
	}
	if c.dice.IntN(3) == 0 {
		l.revoked.Store(true)
		c.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
			_, err := pb.NewLeaseClient(conn).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id})
			return err
		})
	}
}

func (c *client) renew(ctx context.Context, l *lease, id int64) {
	asked := time.Since(epoch)
	c.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := pb.NewLeaseClient(conn).LeaseKeepAlive(ctx)
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			return err
		}
		r, err := stream.Recv()
		if err == nil && r.TTL > 0 {
			l.renewed.Store(int64(asked))
		}
		return err
	})
}

// compact drops what all watchers have been told of, but for a little.
func (c *client) compact(ctx context.Context) {
	select {
	case <-c.t.stop:
		return
	case <-time.After(time.Second):
	}
	revision := c.t.Log.Slowest() - 200
	if revision <= c.t.Compacted.Load() {
		return
	}
	c.t.Compacted.Store(revision)
	c.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := pb.NewKVClient(conn).Compact(ctx, &pb.CompactionRequest{Revision: revision, Physical: c.dice.IntN(2) == 0})
		return err
	})
}
