package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

type clients struct {
	kv          pb.KVClient
	watch       pb.WatchClient
	lease       pb.LeaseClient
	maintenance pb.MaintenanceClient
}

// write is one request that changes the store. Values are unique, so a write is known by its value.
type write struct {
	keys     []string // one, or two that must change together
	value    string   // empty: a delete
	lease    int64
	revision int64 // acknowledged at; 0: unknown
	deleted  int64
}

// load is the writers of one round.
type load struct {
	killed  atomic.Bool
	writers sync.WaitGroup
	mu      sync.Mutex
	err     error
}

func startLoad(ctx context.Context, c clients, h *history, writers int, seed uint64) *load {
	l := &load{}
	h.round++
	for i := range writers {
		l.writers.Go(func() {
			w := writer{name: fmt.Sprintf("w%02d", i), c: c, h: h, dice: rand.New(rand.NewPCG(seed, uint64(i)))}
			for n := 0; ctx.Err() == nil && !l.killed.Load(); n++ {
				if err := w.once(ctx, n); err != nil {
					if !l.killed.Load() { // before the kill nothing may fail
						l.fail(fmt.Errorf("writer %s: %w", w.name, err))
					}
					return
				}
			}
		})
	}
	return l
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
}

func (l *load) wait() error {
	l.writers.Wait()
	return l.err
}

type writer struct {
	name string
	c    clients
	h    *history
	dice *rand.Rand
}

// once sends one request and records what is known of it, before and after.
func (w *writer) once(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	key := fmt.Sprintf("%s/%d", w.name, w.dice.IntN(8))
	value := fmt.Sprintf("%s round %d write %d", w.name, w.h.round, n)
	if w.dice.IntN(10) == 0 {
		value += string(make([]byte, 4000))
	}
	switch w.dice.IntN(20) {
	case 0, 1: // delete
		this := w.h.begin(write{keys: []string{key}})
		r, err := w.c.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte(key)})
		if err != nil {
			return err
		}
		w.h.acknowledge(this, r.Header.Revision, r.Deleted)
	case 2, 3, 4, 5, 6: // two keys at once
		pair := []string{key + "/left", key + "/right"}
		this := w.h.begin(write{keys: pair, value: value})
		txn := &pb.TxnRequest{}
		for _, key := range pair {
			txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: []byte(key), Value: []byte(value)}}})
		}
		r, err := w.c.kv.Txn(ctx, txn)
		if err != nil {
			return err
		}
		w.h.acknowledge(this, r.Header.Revision, 0)
	case 7: // lease
		id := w.dice.Int64()
		w.h.leaseIs(id, unknown)
		if _, err := w.c.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: 100_000}); err != nil {
			return err
		}
		w.h.leaseIs(id, granted)
		this := w.h.begin(write{keys: []string{key}, value: value, lease: id})
		r, err := w.c.kv.Put(ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(value), Lease: id})
		if err != nil {
			return err
		}
		w.h.acknowledge(this, r.Header.Revision, 0)
		if w.dice.IntN(2) == 0 {
			w.h.leaseIs(id, unknown)
			if _, err := w.c.lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id}); err != nil {
				return err
			}
			w.h.leaseIs(id, revoked)
		}
	case 8: // now and then the past is dropped
		if w.name == "w00" && w.dice.IntN(4) == 0 {
			return w.h.compact(ctx, w.c, w.dice.IntN(2) == 0)
		}
	default:
		this := w.h.begin(write{keys: []string{key}, value: value})
		r, err := w.c.kv.Put(ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
		if err != nil {
			return err
		}
		w.h.acknowledge(this, r.Header.Revision, 0)
	}
	return nil
}
