package history

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// Op is one request. Values are unique: a write is known by its value wherever it is met.
type Op struct {
	Who          string
	Keys         []string
	Value        string // written; empty: a delete, or a read
	Writes       bool
	Call, Return time.Time          // Return zero: the outcome is unknown
	Revision     int64              // of the answer's header
	Wrote        bool               // it made that revision
	Read         []*mvccpb.KeyValue // what was there, in a read of Keys[0]
}

func (o *Op) String() string {
	text := fmt.Sprintf("%s %q", o.Who, o.Keys)
	switch {
	case o.Value != "":
		text += " put " + o.Value
	case o.Writes:
		text += " delete"
	default:
		text += fmt.Sprintf(" read %v", o.Read)
	}
	if o.Return.IsZero() {
		return text + ", unknown, called " + o.Call.Format("05.000000")
	}
	return text + fmt.Sprintf(", revision %d, %s to %s", o.Revision, o.Call.Format("05.000000"), o.Return.Format("05.000000"))
}

// Ops gathers requests.
type Ops struct {
	mu  sync.Mutex
	all []*Op
}

func (o *Ops) Add(op *Op) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, op)
}

// Summary counts them.
type Summary struct{ Reads, Writes, Unknown, UnknownApplied int }

func (s Summary) String() string {
	return fmt.Sprintf("%d reads and %d writes answered, %d writes of unknown outcome (%d of them happened)",
		s.Reads, s.Writes, s.Unknown, s.UnknownApplied)
}

// Check judges all requests by all events. Nobody but the load may have written below its prefixes.
func Check(ops *Ops, log *Log) (Summary, error) {
	c := &checker{ops: ops.all, versions: map[string][]*mvccpb.KeyValue{}, values: map[string]int64{}}
	if err := log.Broken(); err != nil {
		return c.summary, err
	}
	if err := c.index(log.revisions); err != nil {
		return c.summary, err
	}
	for _, each := range []func() error{c.writes, c.reads, c.order} {
		if err := each(); err != nil {
			return c.summary, err
		}
	}
	return c.summary, nil
}

type checker struct {
	ops      []*Op
	summary  Summary
	log      [][]*mvccpb.Event
	versions map[string][]*mvccpb.KeyValue // of each key, ascending; a tombstone has version 0
	values   map[string]int64              // the revision that wrote it
}

// index puts events in order by key and by value, and checks that no value came twice.
func (c *checker) index(log [][]*mvccpb.Event) error {
	c.log = log
	for _, events := range log {
		for _, e := range events {
			key := string(e.Kv.Key)
			c.versions[key] = append(c.versions[key], e.Kv)
			if e.Type == mvccpb.Event_DELETE {
				continue
			}
			if at, twice := c.values[string(e.Kv.Value)]; twice && at != e.Kv.ModRevision {
				return fmt.Errorf("a write happened twice, at revision %d and again: %v", at, e)
			}
			c.values[string(e.Kv.Value)] = e.Kv.ModRevision
		}
	}
	return nil
}

// writes: each acknowledged one stands where it was acknowledged, whole; nothing else was written.
func (c *checker) writes() error {
	begun := map[string]bool{}
	for _, op := range c.ops {
		if !op.Writes {
			continue
		}
		if op.Value != "" {
			begun[op.Value] = true
		}
		if op.Return.IsZero() {
			c.summary.Unknown++
			if at, there := c.values[op.Value]; there && op.Value != "" {
				c.summary.UnknownApplied++
				op.Revision = at
			}
		} else {
			c.summary.Writes++
		}
		if op.Wrote || (op.Return.IsZero() && op.Revision != 0) {
			if err := c.stands(op); err != nil {
				return err
			}
		}
	}
	for value, at := range c.values {
		if !begun[value] {
			return fmt.Errorf("nobody wrote %q, of revision %d", value, at)
		}
	}
	return nil
}

func (c *checker) stands(op *Op) error {
	at := int(op.Revision - 2)
	if at < 0 || at >= len(c.log) {
		return fmt.Errorf("an acknowledged write is lost: %v; the log ends at %d", op, len(c.log)+1)
	}
	for _, key := range op.Keys {
		if !slices.ContainsFunc(c.log[at], func(e *mvccpb.Event) bool {
			return string(e.Kv.Key) == key && string(e.Kv.Value) == op.Value
		}) {
			return fmt.Errorf("an acknowledged write is lost: %v; at its revision: %v", op, c.log[at])
		}
	}
	return nil
}

// reads: each one saw its key as it was at the revision of its header.
func (c *checker) reads() error {
	for _, op := range c.ops {
		if op.Writes || op.Return.IsZero() {
			continue
		}
		c.summary.Reads++
		versions := c.versions[op.Keys[0]]
		n := sort.Search(len(versions), func(i int) bool { return versions[i].ModRevision > op.Revision })
		var expected *mvccpb.KeyValue
		if n > 0 && versions[n-1].Version != 0 {
			expected = versions[n-1]
		}
		same := (expected == nil) == (len(op.Read) == 0)
		if same && expected != nil {
			same = proto.Equal(expected, op.Read[0])
		}
		if !same {
			return fmt.Errorf("a read saw what was not there: %v; at that revision: %v", op, expected)
		}
	}
	return nil
}

// order: the revisions are an order in which everything can have happened. A store has one state a revision, so all of
// it is one register, whose values are revisions: writes make a new one each, reads see one. Such a history is
// linearizable if and only if, whenever one request had its answer before another was called, the other's revision is
// not less; and greater, if the other is a write. (Sorted by revision, a write before the reads of what it wrote and
// these by their calls, no request then stands before one that had ended when it began.)
func (c *checker) order() error {
	type moment struct {
		at   time.Time
		op   *Op
		ends bool
	}
	var moments []moment
	for _, op := range c.ops {
		if op.Revision == 0 {
			continue
		}
		moments = append(moments, moment{op.Call, op, false})
		if !op.Return.IsZero() {
			moments = append(moments, moment{op.Return, op, true})
		}
	}
	slices.SortFunc(moments, func(a, b moment) int {
		if order := a.at.Compare(b.at); order != 0 || a.ends == b.ends {
			return order
		}
		if a.ends {
			return 1
		}
		return -1
	})
	var newest *Op // of those that have ended
	for _, m := range moments {
		made := m.op.Wrote || m.op.Return.IsZero()
		switch {
		case m.ends && (newest == nil || m.op.Revision > newest.Revision):
			newest = m.op
		case m.ends || newest == nil:
		case m.op.Revision < newest.Revision || (made && m.op.Revision == newest.Revision):
			return fmt.Errorf("not linearizable:\n  %v\nhad its answer before the call of\n  %v", newest, m.op)
		}
	}
	return nil
}

// At is the state at the end of the log.
func (l *Log) State() map[string]*mvccpb.KeyValue {
	l.mu.Lock()
	defer l.mu.Unlock()
	state := map[string]*mvccpb.KeyValue{}
	for _, events := range l.revisions {
		for _, e := range events {
			if e.Type == mvccpb.Event_DELETE {
				delete(state, string(e.Kv.Key))
			} else {
				state[string(e.Kv.Key)] = e.Kv
			}
		}
	}
	return state
}

// SameState compares it with what was read.
func (l *Log) SameState(kvs []*mvccpb.KeyValue) error {
	state := l.State()
	var wrong []string
	for _, kv := range kvs {
		if !proto.Equal(kv, state[string(kv.Key)]) {
			wrong = append(wrong, fmt.Sprintf("%v, by the events %v", kv, state[string(kv.Key)]))
		}
		delete(state, string(kv.Key))
	}
	for _, kv := range state {
		wrong = append(wrong, fmt.Sprintf("%v is not there", kv))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d keys differ from what the events add up to: %s", len(wrong), strings.Join(wrong[:min(3, len(wrong))], "; "))
	}
	return nil
}
