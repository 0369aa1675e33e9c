package main

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// The grammar: what a random client may ask. A step is a seed; what it becomes is drawn from that seed and
// from what the execution has learned so far (revisions, leases, watchers). So a history stays meaningful
// when steps are taken out of it: "five revisions ago" is still five revisions ago.

// Few keys, so that requests meet: nested prefixes, the borders of the byte order, and objects as an API
// server lays them out.
var keys = [][]byte{
	{0}, {0, 0}, []byte("a"), []byte("a\x00"), []byte("a/"), []byte("a/b"), []byte("a/b/"), []byte("a/b/c"),
	[]byte("a/c"), []byte("aa"), []byte("ab"), []byte("b"), []byte("b\xff"), []byte("b\xff\xff"), []byte("c"),
	[]byte("key with spaces \n and \xc3\x28 no utf-8"), {0xfe, 0xff}, {0xff}, {0xff, 0xff},
}

func init() {
	for _, kind := range []string{"pods", "leases"} {
		for namespace := range 3 {
			for name := range 8 {
				keys = append(keys, fmt.Appendf(nil, "/registry/%s/ns%d/obj-%d", kind, namespace, name))
			}
		}
	}
}

var prefixes = [][]byte{[]byte("a"), []byte("a/"), []byte("a/b"), []byte("b"), {0xff}, []byte("b\xff"),
	[]byte("/registry/"), []byte("/registry/pods/"), []byte("/registry/pods/ns1/"), []byte("/registry/leases/ns0/")}

var compactionKey = []byte("compact_rev_key")

type dice struct {
	*rand.Rand
	x *execution
}

func newDice(seed uint64, x *execution) dice { return dice{rand.New(rand.NewPCG(seed, 0x6b65656c)), x} }

func (d dice) chance(percent float64) bool { return d.Float64()*100 < percent }

func pick[T any](d dice, from []T) T { return from[d.IntN(len(from))] }

func (d dice) key() []byte {
	if d.chance(1) {
		return nil
	}
	return slices.Clone(pick(d, keys))
}

// prefixEnd is what clients send for "everything with this prefix".
func prefixEnd(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0}
}

func (d dice) keyRange() (from, end []byte) {
	switch n := d.IntN(100); {
	case n < 30:
		return d.key(), nil
	case n < 60:
		prefix := pick(d, prefixes)
		return prefix, prefixEnd(prefix)
	case n < 78:
		return d.key(), d.key() // half of them inverted
	case n < 88:
		return d.key(), []byte{0}
	case n < 95:
		return []byte{0}, []byte{0}
	default:
		same := d.key()
		return same, same
	}
}

func (d dice) value() []byte {
	switch n := d.IntN(1000); {
	case n < 200:
		return []byte(pick(d, []string{"x", "y", "z"})) // ties
	case n < 230:
		return nil
	case n < 990:
		value := make([]byte, d.IntN(200))
		for i := range value {
			value[i] = byte(d.Uint32())
		}
		return value
	case n < 997:
		return fill(d, 20_000)
	case n < 998:
		return fill(d, 600_000)
	case n < 999:
		return fill(d, 1_572_800+d.IntN(40)) // about the most a request may hold
	default:
		return fill(d, 2_097_100+d.IntN(60)) // about the most a message may hold
	}
}

func fill(d dice, n int) []byte {
	value := make([]byte, n)
	for i := 0; i < n; i += 64 {
		value[i] = byte(d.Uint32())
	}
	return value
}

// revision is mostly one that can be read, else beyond one of the ends.
func (d dice) revision() int64 {
	now, floor := d.x.revision, max(d.x.compacted, 0)
	switch n := d.IntN(100); {
	case n < 70:
		return floor + d.Int64N(max(1, now-floor+1))
	case n < 80:
		return floor + int64(d.IntN(4)) - 2
	case n < 88:
		return now + int64(d.IntN(4)) - 1
	case n < 92:
		return -int64(d.IntN(3))
	case n < 94:
		return pick(d, []int64{math.MaxInt64, math.MinInt64, 1 << 40})
	default:
		return now - int64(d.IntN(5))
	}
}

func (d dice) filter() int64 { // of mod or create revisions
	if d.chance(90) {
		return 0
	}
	return d.revision()
}

func (d dice) rangeRequest() *pb.RangeRequest {
	r := &pb.RangeRequest{}
	r.Key, r.RangeEnd = d.keyRange()
	if d.chance(50) {
		r.Limit = pick(d, []int64{1, 1, 2, 3, 5, 10, 11, 40, -1, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64})
	}
	if d.chance(40) {
		r.Revision = d.revision()
	}
	if d.chance(45) {
		r.SortOrder = pb.RangeRequest_SortOrder(d.IntN(3))
		r.SortTarget = pb.RangeRequest_SortTarget(d.IntN(5))
	}
	if d.chance(2) {
		r.SortOrder = pick(d, []pb.RangeRequest_SortOrder{3, -1, 100})
	}
	if d.chance(2) {
		r.SortTarget = pick(d, []pb.RangeRequest_SortTarget{5, -1, 100})
	}
	r.Serializable = d.chance(40)
	r.KeysOnly = d.chance(15)
	r.CountOnly = d.chance(10)
	if d.chance(20) {
		r.MinModRevision, r.MaxModRevision = d.filter(), d.filter()
		r.MinCreateRevision, r.MaxCreateRevision = d.filter(), d.filter()
	}
	return r
}

func (d dice) leaseId() int64 {
	return pick(d, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1 << 40, math.MaxInt64, -1, -7, math.MinInt64})
}

func (d dice) put() *pb.PutRequest {
	r := &pb.PutRequest{Key: d.key(), Value: d.value()}
	if d.chance(30) {
		r.Lease = d.leaseId()
		if known := slices.Sorted(maps.Keys(d.x.leases)); len(known) > 0 && d.chance(70) {
			r.Lease = pick(d, known)
		}
	}
	r.PrevKv = d.chance(30)
	if d.chance(8) {
		r.IgnoreValue = true
		if d.chance(90) {
			r.Value = nil
		}
	}
	if d.chance(8) {
		r.IgnoreLease = true
		if d.chance(90) {
			r.Lease = 0
		}
	}
	return r
}

func (d dice) deleteRange() *pb.DeleteRangeRequest {
	r := &pb.DeleteRangeRequest{PrevKv: d.chance(40)}
	r.Key, r.RangeEnd = d.keyRange()
	if len(r.RangeEnd) > 0 && d.chance(60) { // keep something in the store
		r.RangeEnd = nil
	}
	return r
}

func (d dice) compare() *pb.Compare {
	c := &pb.Compare{Key: d.key(), Result: pb.Compare_CompareResult(d.IntN(4)), Target: pb.Compare_CompareTarget(d.IntN(5))}
	if d.chance(25) {
		c.Key, c.RangeEnd = d.keyRange()
	}
	if d.chance(1) {
		c.Result = pick(d, []pb.Compare_CompareResult{4, -1, 77})
	}
	if d.chance(1) {
		c.Target = pick(d, []pb.Compare_CompareTarget{5, -1, 77})
	}
	member := c.Target
	if d.chance(5) {
		member = pb.Compare_CompareTarget(d.IntN(6)) // does not match the target, or none
	}
	kv := d.known(c.Key)
	likely := d.chance(60)
	number := func(actual int64) int64 {
		if likely {
			return actual
		}
		return pick(d, []int64{0, 1, 2, d.x.revision, d.revision(), -1})
	}
	switch member {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: number(kv.Version)}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: number(kv.CreateRevision)}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: number(kv.ModRevision)}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: number(kv.Lease)}
	case pb.Compare_VALUE:
		value := pick(d, [][]byte{nil, []byte("x"), []byte("y"), []byte("z")})
		if likely {
			value = kv.Value
		}
		c.TargetUnion = &pb.Compare_Value{Value: value}
	}
	return c
}

// known is the latest state of a key that the watcher of everything has told, which lags a little.
func (d dice) known(key []byte) *mvccpb.KeyValue {
	events := d.x.referenceEvents()
	for i := len(events) - 1; i >= max(0, len(events)-300); i-- {
		if string(events[i].Kv.Key) == string(key) {
			if events[i].Type == mvccpb.Event_DELETE {
				break
			}
			return events[i].Kv
		}
	}
	return &mvccpb.KeyValue{}
}

func (d dice) op(depth int) *pb.RequestOp {
	switch n := d.IntN(100); {
	case n < 35:
		return opOf(d.rangeRequest())
	case n < 70:
		return opOf(d.put())
	case n < 86:
		return opOf(d.deleteRange())
	case n < 99 && depth < 3:
		return opOf(d.txn(depth + 1))
	case n < 99:
		return opOf(d.rangeRequest())
	}
	return &pb.RequestOp{}
}

func opOf(m proto.Message) *pb.RequestOp {
	switch r := m.(type) {
	case *pb.RangeRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
	case *pb.PutRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
	case *pb.DeleteRangeRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
	case *pb.TxnRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: r}}
	}
	panic(fmt.Sprintf("no operation: %T", m))
}

func (d dice) txn(depth int) *pb.TxnRequest {
	t := &pb.TxnRequest{}
	for range d.IntN(4) {
		t.Compare = append(t.Compare, d.compare())
	}
	for range d.IntN(4) {
		t.Success = append(t.Success, d.op(depth))
	}
	for range d.IntN(4) {
		t.Failure = append(t.Failure, d.op(depth))
	}
	if d.chance(10) { // nothing but reads: takes another path
		for _, op := range slices.Concat(t.Success, t.Failure) {
			op.Request = opOf(d.rangeRequest()).Request
		}
	}
	if d.chance(1) { // as many as allowed, or one too many
		for i := range 127 + d.IntN(3) {
			t.Success = append(t.Success, opOf(&pb.PutRequest{Key: fmt.Appendf(nil, "many/%03d", i), Value: []byte("m")}))
		}
	}
	if depth == 0 && deletesFromKey(t) {
		dropIgnores(t)
	}
	return t
}

// A delete of "everything from this key on" is invisible to the check for duplicate keys, and a later put
// with ignore_value or ignore_lease of a key it removed makes etcd panic: the history never does that.
func deletesFromKey(t *pb.TxnRequest) bool {
	return slices.ContainsFunc(slices.Concat(t.Success, t.Failure), func(op *pb.RequestOp) bool {
		if r := op.GetRequestDeleteRange(); r != nil && len(r.RangeEnd) == 1 && r.RangeEnd[0] == 0 {
			return true
		}
		return op.GetRequestTxn() != nil && deletesFromKey(op.GetRequestTxn())
	})
}

func dropIgnores(t *pb.TxnRequest) {
	for _, op := range slices.Concat(t.Success, t.Failure) {
		if r := op.GetRequestPut(); r != nil {
			r.IgnoreValue, r.IgnoreLease = false, false
		}
		if r := op.GetRequestTxn(); r != nil {
			dropIgnores(r)
		}
	}
}

func (d dice) watchCreate() *pb.WatchCreateRequest {
	r := &pb.WatchCreateRequest{PrevKv: d.chance(40), Fragment: d.chance(30), ProgressNotify: d.chance(20)}
	r.Key, r.RangeEnd = d.keyRange()
	if d.chance(60) {
		r.StartRevision = d.revision()
	}
	if d.chance(30) {
		r.WatchId = pick(d, []int64{1, 2, 3, 4, 5, 1000, -5})
	}
	for range 3 {
		if d.chance(12) {
			r.Filters = append(r.Filters, pick(d, []pb.WatchCreateRequest_FilterType{0, 1, 0, 1, 7}))
		}
	}
	return r
}

// One kind of step, and how often it is drawn.
type rule struct {
	weight float64
	name   string
	run    func(d dice)
}

func (d dice) call(method string, request proto.Message) answer {
	a := action{kind: "call", method: method, request: request}
	if d.chance(1) {
		a.request = withUnknownField(request)
	}
	if d.chance(1) {
		a.metadata = pick(d, [][]string{{"hasleader", "true"}, {"client-api-version", "3.7"}, {"token", "nobody.1"},
			{"authorization", "Bearer nobody.2"}})
	}
	return d.x.do(a)
}

var rules = []rule{
	{22, "range", func(d dice) { d.call("KV/Range", d.rangeRequest()) }},
	{5, "range stream", func(d dice) {
		r := d.rangeRequest()
		if d.chance(80) {
			r.SortOrder, r.SortTarget = 0, 0
			r.MinModRevision, r.MaxModRevision, r.MinCreateRevision, r.MaxCreateRevision = 0, 0, 0, 0
		}
		if r.SortOrder == pb.RangeRequest_NONE && r.SortTarget >= 0 && r.SortTarget <= pb.RangeRequest_VALUE {
			r.SortTarget = pb.RangeRequest_KEY
		}
		d.x.do(action{kind: "stream", request: r})
	}},
	{24, "put", func(d dice) { d.call("KV/Put", d.put()) }},
	{5, "delete range", func(d dice) { d.call("KV/DeleteRange", d.deleteRange()) }},
	{14, "txn", func(d dice) { d.call("KV/Txn", d.txn(0)) }},
	{0.7, "compact", compact},
	{2, "hash of the keys", func(d dice) { d.call("Maintenance/HashKV", &pb.HashKVRequest{Revision: d.revision()}) }},
	{3, "lease grant", func(d dice) {
		d.call("Lease/LeaseGrant", &pb.LeaseGrantRequest{ID: d.leaseId(),
			TTL: pick(d, []int64{100_000, 5000, 86_400, 9_000_000_000, 9_000_000_001, math.MaxInt64, 1, 0, -1, math.MinInt64})})
	}},
	{0.2, "lease grant of any id", func(d dice) { d.x.do(action{kind: "grant-any", request: &pb.LeaseGrantRequest{TTL: 5000}}) }},
	{1.2, "lease revoke", func(d dice) { d.call("Lease/LeaseRevoke", &pb.LeaseRevokeRequest{ID: d.leaseId()}) }},
	{1, "lease time to live", func(d dice) {
		d.call("Lease/LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: d.leaseId(), Keys: d.chance(60)})
	}},
	{0.5, "leases", func(d dice) { d.call("Lease/LeaseLeases", &pb.LeaseLeasesRequest{}) }},
	{1, "keep alive", func(d dice) { d.x.do(action{kind: "keepalive", id: pick(d, []int64{0, d.leaseId()})}) }},
	{4, "watch", func(d dice) {
		if len(d.x.watchers) < 24 {
			d.x.do(action{kind: "watch", stream: d.IntN(4), request: d.watchCreate()})
		}
	}},
	{1.5, "watch cancel", func(d dice) {
		stream, id := d.IntN(4), int64(d.IntN(6))
		if len(d.x.watchers) > 0 && d.chance(80) {
			w := pick(d, d.x.watchers)
			if over := slices.IndexFunc(d.x.watchers, func(w *watcher) bool { return w.overtaken }); over >= 0 && d.chance(70) {
				w = d.x.watchers[over]
			}
			stream, id = w.stream, w.id
		}
		d.x.do(action{kind: "cancel", stream: stream, id: id})
	}},
	{0.7, "watch progress", func(d dice) { d.x.do(action{kind: "progress", stream: d.IntN(4)}) }},
	{0.15, "watch close", func(d dice) {
		d.x.do(action{kind: pick(d, []string{"close", "close", "half-close"}), stream: d.IntN(4)})
	}},
	{1, "sync", func(d dice) { d.x.do(action{kind: "sync"}) }},
	{0.5, "status", func(d dice) { d.call("Maintenance/Status", &pb.StatusRequest{}) }},
	{0.3, "members", func(d dice) { d.call("Cluster/MemberList", &pb.MemberListRequest{Linearizable: d.chance(50)}) }},
	{0.15, "hash", func(d dice) { d.call("Maintenance/Hash", &pb.HashRequest{}) }},
	{0.05, "defragment", func(d dice) { d.call("Maintenance/Defragment", &pb.DefragmentRequest{}) }},
	{0.5, "refused maintenance", refusedMaintenance},
	{0.15, "alarm", alarm},
	{0.8, "auth data", authData},
	{0.03, "expiry", expiry},
	{0.05, "large events", largeEvents},
	{0.05, "restart", func(d dice) {
		d.x.do(action{kind: "restart"})
		d.hashes()
		d.call("Maintenance/Status", &pb.StatusRequest{})
		d.call("Maintenance/Hash", &pb.HashRequest{})
		d.call("Maintenance/Alarm", &pb.AlarmRequest{})
		d.call("Lease/LeaseLeases", &pb.LeaseLeasesRequest{})
		d.call("KV/Range", &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	}},
	{5, "guarded create", guardedCreate},
	{4, "guarded update", guardedUpdate},
	{2.5, "guarded delete", guardedDelete},
	{2, "list in pages", listPages},
	{0.5, "shared lease", sharedLease},
	{0.3, "guarded compaction", guardedCompaction},
}

var totalWeight = func() (sum float64) {
	for _, r := range rules {
		sum += r.weight
	}
	return sum
}()

// step executes the step that a seed stands for.
func step(seed uint64, x *execution) {
	if x.crew != nil {
		x.beforeStep()
	}
	d := newDice(seed, x)
	at := d.Float64() * totalWeight
	for _, r := range rules {
		if at -= r.weight; at < 0 {
			r.run(d)
			return
		}
	}
}

// hashes asks for the hash at many revisions: equal histories must give equal ones at each.
func (d dice) hashes() {
	for range 4 {
		d.call("Maintenance/HashKV", &pb.HashKVRequest{Revision: d.revision()})
	}
	d.call("Maintenance/HashKV", &pb.HashKVRequest{Revision: max(0, d.x.compacted)})
	d.call("Maintenance/HashKV", &pb.HashKVRequest{})
}

func compact(d dice) {
	d.call("KV/Compact", &pb.CompactionRequest{Revision: d.revision(), Physical: d.chance(40)})
	d.hashes()
	r := d.rangeRequest()
	r.Revision = max(1, d.x.compacted+int64(d.IntN(3))-1)
	d.call("KV/Range", r)
	if d.chance(50) {
		r := d.watchCreate()
		r.StartRevision = max(1, d.x.compacted+int64(d.IntN(3))-1)
		d.x.do(action{kind: "watch", stream: d.IntN(4), request: r})
	}
}

func refusedMaintenance(d dice) {
	switch d.IntN(12) {
	case 0:
		d.call("Cluster/MemberRemove", &pb.MemberRemoveRequest{ID: 12345})
	case 1:
		d.call("Cluster/MemberUpdate", &pb.MemberUpdateRequest{ID: 12345, PeerURLs: []string{"http://127.0.0.1:1"}})
	case 2:
		d.call("Cluster/MemberAdd", &pb.MemberAddRequest{PeerURLs: pick(d, [][]string{nil, {"nonsense"},
			{"ftp://127.0.0.1:1"}, {"http://127.0.0.1"}, {"http://127.0.0.1:1/path"}, {""}})})
	case 3:
		d.call("Cluster/MemberPromote", &pb.MemberPromoteRequest{ID: 12345})
	case 4:
		d.call("Maintenance/MoveLeader", &pb.MoveLeaderRequest{TargetID: 12345})
	case 5:
		d.call("Maintenance/Downgrade", &pb.DowngradeRequest{Action: pb.DowngradeRequest_VALIDATE,
			Version: pick(d, []string{"", "x", "3.7", "3.7.0", "3.6", "3.6.1", "3.5", "3.8", "4.0", "3.6.0.1", "-1.2"})})
	case 6:
		d.call("Maintenance/Downgrade", &pb.DowngradeRequest{Action: pb.DowngradeRequest_ENABLE,
			Version: pick(d, []string{"", "x", "3.7", "3.5", "3.8"})})
	case 7:
		d.call("Maintenance/Downgrade", &pb.DowngradeRequest{Action: pb.DowngradeRequest_CANCEL})
	case 8:
		d.call("Maintenance/Downgrade", &pb.DowngradeRequest{Action: 9, Version: "3.6"})
	case 9:
		d.call("Auth/Authenticate", &pb.AuthenticateRequest{Name: "root", Password: "x"})
	case 10:
		d.call("Auth/AuthDisable", &pb.AuthDisableRequest{})
	case 11:
		d.call("Maintenance/Alarm", &pb.AlarmRequest{Alarm: pick(d, []pb.AlarmType{0, 1, 2, 7})})
	}
}

// alarm raises one, sees who is refused, and clears it.
func alarm(d dice) {
	request := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: pick(d, []uint64{0, 1, 2, math.MaxUint64}),
		Alarm: pick(d, []pb.AlarmType{pb.AlarmType_NOSPACE, pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT, pb.AlarmType_NONE})}
	d.call("Maintenance/Alarm", request)
	d.call("Maintenance/Alarm", &pb.AlarmRequest{})
	for range 12 {
		switch d.IntN(8) {
		case 0:
			d.call("KV/Put", d.put())
		case 1, 2:
			d.call("KV/Txn", d.txn(0))
		case 3:
			d.call("KV/DeleteRange", d.deleteRange())
		case 4:
			d.call("Lease/LeaseGrant", &pb.LeaseGrantRequest{ID: d.leaseId(), TTL: 5000})
		case 5:
			d.call("Lease/LeaseRevoke", &pb.LeaseRevokeRequest{ID: d.leaseId()})
		case 6:
			d.call("KV/Range", d.rangeRequest())
		case 7:
			d.call("KV/Compact", &pb.CompactionRequest{Revision: d.revision()})
		}
	}
	d.call("Maintenance/Status", &pb.StatusRequest{})
	request = proto.Clone(request).(*pb.AlarmRequest)
	request.Action = pb.AlarmRequest_DEACTIVATE
	d.call("Maintenance/Alarm", request)
	d.call("Maintenance/Alarm", request)
}

// expiry lets a lease end by itself, with keys on it.
func expiry(d dice) {
	d.x.do(action{kind: "sync"})
	id := int64(5_000_000 + d.IntN(3))
	txn := &pb.TxnRequest{}
	for i := range d.IntN(4) {
		txn.Success = append(txn.Success, opOf(&pb.PutRequest{Key: keys[i*5+d.IntN(5)], Lease: id}))
	}
	d.x.do(action{kind: "expire", id: id, request: txn})
}

// largeEvents makes one revision larger than a watch response may be, for those who ask for fragments.
func largeEvents(d dice) {
	start := d.x.revision + 1
	for i := range 4 {
		d.call("KV/Put", &pb.PutRequest{Key: fmt.Appendf(nil, "large/%d", i), Value: fill(d, 700_000), PrevKv: d.chance(10)})
	}
	d.x.do(action{kind: "watch", stream: d.IntN(4), request: &pb.WatchCreateRequest{Key: []byte("large/"),
		RangeEnd: []byte("large0"), StartRevision: start, Fragment: d.chance(70), PrevKv: d.chance(50)}})
	d.call("KV/DeleteRange", &pb.DeleteRangeRequest{Key: []byte("large/"), RangeEnd: []byte("large0")})
	d.x.do(action{kind: "sync"})
}

// What an API server's storage layer sends.

func object(d dice) []byte {
	return fmt.Appendf(nil, "/registry/pods/ns%d/obj-%d", d.IntN(3), d.IntN(8))
}

func modIs(key []byte, revision int64) []*pb.Compare {
	return []*pb.Compare{{Key: key, Target: pb.Compare_MOD, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_ModRevision{ModRevision: revision}}}
}

func guardedCreate(d dice) {
	key := object(d)
	d.call("KV/Txn", &pb.TxnRequest{Compare: modIs(key, 0),
		Success: []*pb.RequestOp{opOf(&pb.PutRequest{Key: key, Value: d.value()})},
		Failure: []*pb.RequestOp{opOf(&pb.RangeRequest{Key: key})}})
}

// current reads what a guarded write is based on, now and then at a state that is already old.
func current(d dice, key []byte) int64 {
	got := d.call("KV/Range", &pb.RangeRequest{Key: key, Serializable: d.chance(20)})
	if m, ok := got.message.(*pb.RangeResponse); ok && len(m.Kvs) > 0 && d.chance(90) {
		return m.Kvs[0].ModRevision
	}
	return max(0, d.x.revision-int64(d.IntN(10)))
}

func guardedUpdate(d dice) {
	key := object(d)
	put := &pb.PutRequest{Key: key, Value: d.value()}
	if d.chance(20) {
		put.Lease = d.leaseId()
	}
	d.call("KV/Txn", &pb.TxnRequest{Compare: modIs(key, current(d, key)),
		Success: []*pb.RequestOp{opOf(put)}, Failure: []*pb.RequestOp{opOf(&pb.RangeRequest{Key: key})}})
}

func guardedDelete(d dice) {
	key := object(d)
	d.call("KV/Txn", &pb.TxnRequest{Compare: modIs(key, current(d, key)),
		Success: []*pb.RequestOp{opOf(&pb.DeleteRangeRequest{Key: key})},
		Failure: []*pb.RequestOp{opOf(&pb.RangeRequest{Key: key})}})
}

func listPages(d dice) {
	prefix := pick(d, prefixes)
	next := &pb.RangeRequest{Key: prefix, RangeEnd: prefixEnd(prefix), Limit: int64(1 + d.IntN(7))}
	for range 8 {
		got, ok := d.call("KV/Range", next).message.(*pb.RangeResponse)
		if !ok || !got.More {
			return
		}
		if next.Revision == 0 {
			next.Revision = got.Header.Revision
		}
		next = proto.Clone(next).(*pb.RangeRequest)
		next.Key = append(slices.Clone(got.Kvs[len(got.Kvs)-1].Key), 0)
		if d.chance(30) {
			guardedUpdate(d)
		}
	}
}

func sharedLease(d dice) {
	id := d.leaseId()
	d.call("Lease/LeaseGrant", &pb.LeaseGrantRequest{ID: id, TTL: 3660})
	for range 5 {
		key := pick(d, keys)
		d.call("KV/Put", &pb.PutRequest{Key: key, Value: d.value(), Lease: id})
	}
	d.call("Lease/LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
}

func guardedCompaction(d dice) {
	got, ok := d.call("KV/Range", &pb.RangeRequest{Key: compactionKey}).message.(*pb.RangeResponse)
	if !ok {
		return
	}
	version := int64(0)
	if len(got.Kvs) > 0 {
		version = got.Kvs[0].Version
	}
	if d.chance(20) {
		version--
	}
	target := max(1, d.x.revision-int64(d.IntN(40)))
	txn, ok := d.call("KV/Txn", &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: compactionKey, Target: pb.Compare_VERSION, TargetUnion: &pb.Compare_Version{Version: version}}},
		Success: []*pb.RequestOp{opOf(&pb.PutRequest{Key: compactionKey, Value: fmt.Append(nil, target)})},
		Failure: []*pb.RequestOp{opOf(&pb.RangeRequest{Key: compactionKey})},
	}).message.(*pb.TxnResponse)
	if ok && txn.Succeeded {
		d.call("KV/Compact", &pb.CompactionRequest{Revision: target})
		d.hashes()
	}
}
