package main

import (
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// offsets says which revision of the subject is which of the oracle's, after requests that only one of them has
// applied. The history counts as the oracle does.
//
//	oracle   1 2 3 4 5 6 7 8        4 was lost at the subject; from 5 (there 4) on both go on together
//	subject  1 2 3     4 5 6 7
//
// In between lies nothing that either still keeps: keys last changed there are deleted at both before they go on.
type offsets struct {
	mu    sync.Mutex
	steps []offset // the first: 0, 0
}

type offset struct{ here, there int64 } // from `here` of the oracle, which is `there` of the subject, on

// Numbers that are far beyond any revision stay what they are.
const farRevision = int64(1) << 39

func (o *offsets) add(step offset) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.steps = append(o.steps, step)
}

func (o *offsets) there(revision int64) int64 { return o.move(revision, offset.forth) }
func (o *offsets) here(revision int64) int64  { return o.move(revision, offset.back) }

func (o offset) forth() (from, to int64) { return o.here, o.there }
func (o offset) back() (from, to int64)  { return o.there, o.here }

func (o *offsets) move(revision int64, way func(offset) (from, to int64)) int64 {
	if revision <= 0 || revision >= farRevision {
		return revision
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := len(o.steps) - 1; i >= 0; i-- {
		from, to := way(o.steps[i])
		if from > revision {
			continue
		}
		moved := revision - from + to
		if i+1 < len(o.steps) { // in between: the last before what follows, which nothing keeps either
			_, next := way(o.steps[i+1])
			moved = min(moved, next-1)
		}
		return moved
	}
	return revision
}

// All fields of requests and answers that hold a revision.
var revisionFields = map[protoreflect.Name]bool{"revision": true, "mod_revision": true, "create_revision": true,
	"min_mod_revision": true, "max_mod_revision": true, "min_create_revision": true, "max_create_revision": true,
	"start_revision": true, "compact_revision": true, "hash_revision": true}

func mapRevisions(m protoreflect.Message, move func(int64) int64) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				mapRevisions(value.List().Get(i).Message(), move)
			}
		case field.IsList():
		case field.Message() != nil:
			mapRevisions(value.Message(), move)
		case field.Kind() == protoreflect.Int64Kind && revisionFields[field.Name()]:
			m.Set(field, protoreflect.ValueOfInt64(move(value.Int())))
		}
		return true
	})
}

// unsign takes out of a header who answered and in which term.
func unsign(m protoreflect.Message) {
	field := m.Descriptor().Fields().ByName("header")
	if field == nil || !m.Has(field) {
		return
	}
	header := m.Get(field).Message().Interface().(*pb.ResponseHeader)
	revision := header.Revision
	proto.Reset(header)
	header.Revision = revision
}
