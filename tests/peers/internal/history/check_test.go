package history

import (
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

func kv(key, value string, revision int64) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: revision, Version: 1}
}

func put(value string, revision int64, call, end int) *Op {
	op := &Op{Keys: []string{"a"}, Value: value, Writes: true, Call: at(call), Revision: revision, Wrote: true}
	if end > 0 {
		op.Return = at(end)
	} else {
		op.Revision, op.Wrote = 0, false
	}
	return op
}

func read(of *mvccpb.KeyValue, revision int64, call, end int) *Op {
	op := &Op{Keys: []string{"a"}, Call: at(call), Return: at(end), Revision: revision}
	if of != nil {
		op.Read = []*mvccpb.KeyValue{of}
	}
	return op
}

// A store in which "a" was x at revision 2 and y at revision 3.
func twoPuts() *Log {
	return &Log{revisions: [][]*mvccpb.Event{{{Kv: kv("a", "x", 2)}}, {{Kv: kv("a", "y", 3)}}}}
}

func TestCheck(t *testing.T) {
	for _, row := range []struct {
		what string
		ops  []*Op
		log  *Log
		says string // empty: right
	}{
		{"one after the other", []*Op{put("x", 2, 0, 1), put("y", 3, 2, 3), read(kv("a", "y", 3), 3, 4, 5)}, twoPuts(), ""},
		{"a read beside a write may see either",
			[]*Op{put("x", 2, 0, 1), put("y", 3, 2, 9), read(kv("a", "x", 2), 2, 3, 4), read(kv("a", "y", 3), 3, 5, 6)}, twoPuts(), ""},
		{"what had no answer may have happened", []*Op{put("x", 2, 0, 1), put("y", 3, 2, 0)}, twoPuts(), ""},
		{"or not", []*Op{put("x", 2, 0, 1), put("y", 3, 2, 3), put("z", 0, 4, 0)}, twoPuts(), ""},
		{"an acknowledged write that is nowhere", []*Op{put("x", 2, 0, 1), put("y", 3, 2, 3), put("z", 4, 4, 5)}, twoPuts(), "lost"},
		{"one that is another at its revision",
			[]*Op{put("x", 2, 0, 1), put("z", 3, 2, 3), put("y", 3, 2, 0)}, twoPuts(), "lost"},
		{"a value that nobody wrote", []*Op{put("x", 2, 0, 1)}, twoPuts(), "nobody wrote"},
		{"the same write twice", []*Op{put("x", 2, 0, 1)},
			&Log{revisions: [][]*mvccpb.Event{{{Kv: kv("a", "x", 2)}}, {{Kv: kv("a", "x", 3)}}}}, "twice"},
		{"a stale read", []*Op{put("x", 2, 0, 1), put("y", 3, 2, 3), read(kv("a", "x", 2), 2, 4, 5)}, twoPuts(), "not linearizable"},
		{"two reads, the later one of less",
			[]*Op{put("x", 2, 0, 1), put("y", 3, 2, 9), read(kv("a", "y", 3), 3, 3, 4), read(kv("a", "x", 2), 2, 5, 6)}, twoPuts(),
			"not linearizable"},
		{"a write before one that had ended when it was called",
			[]*Op{put("y", 3, 0, 1), put("x", 2, 2, 3)}, twoPuts(), "not linearizable"},
		{"a read of what was not called yet", []*Op{put("x", 2, 0, 1), read(kv("a", "y", 3), 3, 2, 3), put("y", 3, 4, 5)}, twoPuts(),
			"not linearizable"},
		{"a read of what is of another revision", []*Op{put("x", 2, 0, 1), put("y", 3, 2, 9), read(kv("a", "x", 2), 3, 3, 4)},
			twoPuts(), "saw what was not there"},
		{"a read that does not see what is there", []*Op{put("x", 2, 0, 1), put("y", 3, 2, 9), read(nil, 2, 3, 4)}, twoPuts(),
			"saw what was not there"},
	} {
		_, err := Check(&Ops{all: row.ops}, row.log)
		if (row.says == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), row.says)) {
			t.Errorf("%s: %v, expected %q", row.what, err, row.says)
		}
	}
}

func TestWatches(t *testing.T) {
	event := func(value string, revision int64) *mvccpb.Event { return &mvccpb.Event{Kv: kv("a", value, revision)} }
	for _, row := range []struct {
		what string
		told []*mvccpb.Event
		says string
	}{
		{"each once", []*mvccpb.Event{event("x", 2), event("y", 3), event("z", 4)}, ""},
		{"a gap", []*mvccpb.Event{event("x", 2), event("z", 4)}, "from revision 2 to 4"},
		{"one again", []*mvccpb.Event{event("x", 2), event("y", 3), event("x", 2)}, "from revision 3 to 2"},
		{"otherwise than others", []*mvccpb.Event{event("x", 2), event("q", 3)}, "otherwise"},
	} {
		log, follower := twoPuts(), &follower{name: "w", last: 1}
		for _, e := range row.told {
			log.take(follower, []*mvccpb.Event{e})
		}
		err := log.Broken()
		if (row.says == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), row.says)) {
			t.Errorf("%s: %v, expected %q", row.what, err, row.says)
		}
	}
}
