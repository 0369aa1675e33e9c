package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// mutex: ten owners take turns; a counter outside the store shows that they never overlap.
func mutex(t *test) error {
	const owners, turns = 10, 5
	inside, most, done := 0, 0, 0
	var guard sync.Mutex
	var all sync.WaitGroup
	failed := make(chan error, owners)
	for range owners {
		all.Go(func() {
			session, err := concurrency.NewSession(t.client, concurrency.WithContext(t.ctx))
			if err != nil {
				failed <- err
				return
			}
			defer session.Close()
			lock := concurrency.NewMutex(session, t.key("mutex"))
			for range turns {
				if err := lock.Lock(t.ctx); err != nil {
					failed <- err
					return
				}
				guard.Lock()
				inside++
				most = max(most, inside)
				guard.Unlock()
				_, err := t.put("shared", "x")
				guard.Lock()
				inside--
				done++
				guard.Unlock()
				if err = errors.Join(err, lock.Unlock(t.ctx)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	return errors.Join(<-failed, same("owners at once", most, 1), same("turns", done, owners*turns))
}

// twoSessions of this client, and what closes them.
func (t *test) twoSessions() (one, two *concurrency.Session, done func(), err error) {
	if one, err = concurrency.NewSession(t.client, concurrency.WithContext(t.ctx)); err != nil {
		return nil, nil, nil, err
	}
	if two, err = concurrency.NewSession(t.client, concurrency.WithContext(t.ctx)); err != nil {
		one.Close()
		return nil, nil, nil, err
	}
	return one, two, func() { two.Close(); one.Close() }, nil
}

// election: a follower waits, an observer sees each leader in turn.
func election(t *test) error {
	one, two, done, err := t.twoSessions()
	if err != nil {
		return err
	}
	defer done()
	first, second := concurrency.NewElection(one, t.key("e")), concurrency.NewElection(two, t.key("e"))
	if _, err := first.Leader(t.ctx); !errors.Is(err, concurrency.ErrElectionNoLeader) {
		return fmt.Errorf("a leader before the election: %v", err)
	}
	if err := first.Campaign(t.ctx, "one"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	observed := second.Observe(ctx)
	next := func(want string) error {
		select {
		case r, open := <-observed:
			if !open {
				return errors.New("the observer stopped")
			}
			return same("observed", string(r.Kvs[0].Value), want)
		case <-t.ctx.Done():
			return fmt.Errorf("not observed: %s", want)
		}
	}
	if err := next("one"); err != nil {
		return err
	}
	won := make(chan error, 1)
	go func() { won <- second.Campaign(t.ctx, "two") }()
	if err := first.Proclaim(t.ctx, "one again"); err != nil {
		return err
	}
	if err := next("one again"); err != nil {
		return err
	}
	if err := first.Resign(t.ctx); err != nil {
		return err
	}
	if err := <-won; err != nil {
		return err
	}
	leader, err := first.Leader(t.ctx)
	if err != nil {
		return err
	}
	return errors.Join(next("two"), same("leader", string(leader.Kvs[0].Value), "two"), second.Resign(t.ctx))
}

// transfers moves money between accounts in concurrent transactions; the sum must stay.
func transfers(t *test) error {
	const accounts, movers, moves, each = 5, 6, 15, 100
	for i := range accounts {
		if _, err := t.put(fmt.Sprint("account/", i), strconv.Itoa(each)); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	failed := make(chan error, movers)
	for m := range movers {
		all.Go(func() {
			for i := range moves {
				from, to := t.key(fmt.Sprint("account/", (m+i)%accounts)), t.key(fmt.Sprint("account/", (m+2*i+1)%accounts))
				_, err := concurrency.NewSTM(t.client, func(s concurrency.STM) error {
					if from == to {
						return nil
					}
					a, err := strconv.Atoi(s.Get(from))
					if err != nil {
						return err
					}
					b, err := strconv.Atoi(s.Get(to))
					if err != nil {
						return err
					}
					s.Put(from, strconv.Itoa(a-i))
					s.Put(to, strconv.Itoa(b+i))
					return nil
				}, concurrency.WithAbortContext(t.ctx), concurrency.WithIsolation(concurrency.SerializableSnapshot))
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	r, err := t.client.Get(t.ctx, t.key("account/"), clientv3.WithPrefix())
	if err != nil {
		return err
	}
	sum := 0
	for _, kv := range r.Kvs {
		n, err := strconv.Atoi(string(kv.Value))
		if err != nil {
			return err
		}
		sum += n
	}
	return errors.Join(<-failed, same("sum", sum, accounts*each))
}

// snapshot reads the whole stream: the last 32 bytes are the hash of all before.
func snapshot(t *test) error {
	if _, err := t.put("in the snapshot", "1"); err != nil {
		return err
	}
	r, err := t.client.SnapshotWithVersion(t.ctx)
	if err != nil {
		return err
	}
	defer r.Snapshot.Close()
	all, err := io.ReadAll(r.Snapshot)
	if err != nil {
		return err
	}
	if len(all)%512 != sha256.Size {
		return fmt.Errorf("%d bytes are no pages and a hash", len(all))
	}
	body, hash := all[:len(all)-sha256.Size], all[len(all)-sha256.Size:]
	sum := sha256.Sum256(body)
	return errors.Join(same("hash", bytes.Equal(sum[:], hash), true),
		same("the key is in it", bytes.Contains(body, []byte(t.key("in the snapshot"))), true))
}

// proxy passes bytes on until it is told to cut every connection it holds.
type proxy struct {
	address  string
	target   string
	listener net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool
}

func startProxy(target string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{address: listener.Addr().String(), target: target, listener: listener, open: map[net.Conn]bool{}}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			p.mu.Lock()
			p.open[client], p.open[server] = true, true
			p.mu.Unlock()
			go p.pass(client, server)
			go p.pass(server, client)
		}
	}()
	return p, nil
}

func (p *proxy) pass(to, from net.Conn) {
	io.Copy(to, from)
	to.Close()
	from.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, to)
	delete(p.open, from)
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		conn.Close()
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.cut()
}
