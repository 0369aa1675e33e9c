package main

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
)

// Ignored is one thing in which two right servers may differ. `clear` takes it out of a copy of an answer;
// where it is nil, the comparison is built so that the thing never enters it.
type Ignored struct {
	name   string
	reason string
	clear  func(request, response proto.Message)
}

// All that is not compared stands here.
var ignored = []Ignored{
	{"database size", "files differ by design; only the quota is configured", func(_, response proto.Message) {
		if m, ok := response.(*pb.StatusResponse); ok {
			m.DbSize, m.DbSizeInUse = 0, 0
		}
	}},
	{"white space in the text of an alarm in Status", "the Go library varies it from build to build on purpose",
		func(_, response proto.Message) {
			if m, ok := response.(*pb.StatusResponse); ok {
				for i, text := range m.Errors {
					m.Errors[i] = strings.Join(strings.Fields(text), " ")
				}
			}
		}},
	{"order within ties of a sort", "the contract leaves it open; a tie cut by the limit may keep any of its keys",
		func(request, response proto.Message) {
			switch r := request.(type) {
			case *pb.RangeRequest:
				clearTies(r, response.(*pb.RangeResponse))
			case *pb.TxnRequest:
				clearTiesInTxn(r, response.(*pb.TxnResponse))
			}
		}},
	{"order of leases and of their keys", "unspecified", func(_, response proto.Message) {
		switch m := response.(type) {
		case *pb.LeaseLeasesResponse:
			slices.SortFunc(m.Leases, func(a, b *pb.LeaseStatus) int { return cmp.Compare(a.ID, b.ID) })
		case *pb.LeaseTimeToLiveResponse:
			slices.SortFunc(m.Keys, bytes.Compare)
		}
	}},
	{"remaining TTL", "time passes between the two answers; that it is within the granted one is checked",
		func(_, response proto.Message) {
			m, ok := response.(*pb.LeaseTimeToLiveResponse)
			if !ok || m.TTL < 0 {
				return
			}
			extension := int64(0)
			if m.Header.ClusterId == 0 { // a new leader gives leases its election timeout on top
				extension = 1
			}
			if m.TTL <= m.GrantedTTL+extension {
				m.TTL = 0
			}
		}},
	{"lease ids that the server picks", "random; only one action asks for one and it checks ok and sign", nil},
	{"chunk borders of RangeStream", "the server's choice; the merged answer is compared (side.rangeStream)", nil},
	{"RangeStream with order NONE and a target other than KEY",
		"etcd sorts each chunk by itself and loses its place; the history does not ask for it", nil},
	{"grouping of revisions into watch responses, and the header revision of those",
		"depends on what is in step when; event sequences are compared (watchStream)", nil},
	{"number of progress answers, and whether one comes that need not",
		"dropped or late is the server's choice; that progress never lies is checked (watchStream)", nil},
	{"moment of an expiry", "the clock's; the history waits for it at both (action expire)", nil},
	{"moment of a quota alarm", "sizes differ by design; the history never reaches the quota", nil},
	{"Hash, and HashKV at the compact revision, while a compaction runs",
		"the deletion's progress, and whether its own hash is kept yet; the history waits (awaitCompaction)", nil},
	{"HashKV at the revision of a compaction that came before another had ended, or before a restart",
		"etcd keeps the hash of a compaction only if none was under way, and in memory: a race (hurried)", nil},
	{"HashKV of the current revision after a Compact at 0",
		"etcd keeps that compaction's hash as the one of revision 0, which asks for the current one (action call)", nil},
	{"of a cluster: term, log index, leader, ids, members", "another cluster than the oracle's", func(_, response proto.Message) {
		switch m := response.(type) {
		case *pb.StatusResponse:
			if m.Header.ClusterId == 0 { // taken out by side.told
				m.Leader, m.RaftTerm, m.RaftIndex, m.RaftAppliedIndex = 0, 0, 0, 0
			}
		case *pb.MemberListResponse:
			if m.Header.ClusterId == 0 {
				m.Members = nil
			}
		}
	}},
	{"of a cluster: revisions, by an offset", "after an unknown outcome one side may have what the other has not (offsets)", nil},
	{"applied index behind the committed one", "an answer may leave just before it moves (side.settle)", nil},
}

func clearTiesInTxn(request *pb.TxnRequest, response *pb.TxnResponse) {
	branch := request.Success
	if !response.Succeeded {
		branch = request.Failure
	}
	for i, op := range branch {
		if i >= len(response.Responses) {
			return
		}
		if r, m := op.GetRequestRange(), response.Responses[i].GetResponseRange(); r != nil && m != nil {
			clearTies(r, m)
		}
		if r, m := op.GetRequestTxn(), response.Responses[i].GetResponseTxn(); r != nil && m != nil {
			clearTiesInTxn(r, m)
		}
	}
}

// clearTies puts each tie group in key order. Of a group cut by the limit only what ties it is kept.
func clearTies(request *pb.RangeRequest, response *pb.RangeResponse) {
	var tie func(*mvccpb.KeyValue) string
	switch request.SortTarget {
	case pb.RangeRequest_VERSION:
		tie = func(kv *mvccpb.KeyValue) string { return fmt.Sprint(kv.Version) }
	case pb.RangeRequest_CREATE:
		tie = func(kv *mvccpb.KeyValue) string { return fmt.Sprint(kv.CreateRevision) }
	case pb.RangeRequest_MOD:
		tie = func(kv *mvccpb.KeyValue) string { return fmt.Sprint(kv.ModRevision) }
	case pb.RangeRequest_VALUE:
		tie = func(kv *mvccpb.KeyValue) string { return string(kv.Value) } // one group when keys_only
	default:
		return
	}
	kvs := response.Kvs
	for start := 0; start < len(kvs); {
		end := start + 1
		for end < len(kvs) && tie(kvs[end]) == tie(kvs[start]) {
			end++
		}
		group := kvs[start:end]
		if end == len(kvs) && response.More && end-start >= 1 {
			for i, kv := range group {
				group[i] = &mvccpb.KeyValue{Value: []byte("tied by " + tie(kv))}
			}
		} else {
			slices.SortFunc(group, func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Key, b.Key) })
		}
		start = end
	}
}

// Difference is what the twin is for.
type Difference struct {
	kind    string // what shrinking must preserve: the method and in what the answers differ
	action  string
	oracle  string
	subject string
	detail  string
}

func (d *Difference) String() string {
	text := fmt.Sprintf("%s\n  at       %s\n  oracle   %s\n  subject  %s", d.kind, d.action, d.oracle, d.subject)
	if d.detail != "" {
		text += "\n  in (-oracle +subject)\n" + indent(d.detail)
	}
	return text
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

func short(text string) string {
	if len(text) > 200 {
		return text[:200] + "..."
	}
	return text
}

// show prints a message on one line, long values cut short.
func show(m proto.Message) string {
	if m == nil {
		return "nothing"
	}
	m = proto.Clone(m)
	cutLong(m.ProtoReflect())
	return fmt.Sprintf("%s{%s}", m.ProtoReflect().Descriptor().Name(), prototext.MarshalOptions{}.Format(m))
}

const shownBytes = 60

func cutLong(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				cutLong(value.List().Get(i).Message())
			}
		case field.IsList():
		case field.Message() != nil:
			cutLong(value.Message())
		case field.Kind() == protoreflect.BytesKind && len(value.Bytes()) > shownBytes:
			cut := fmt.Appendf(nil, "%s...%d bytes, crc %08x", value.Bytes()[:8], len(value.Bytes()),
				crc32.ChecksumIEEE(value.Bytes()))
			m.Set(field, protoreflect.ValueOfBytes(cut))
		}
		return true
	})
}

func (a answer) String() string {
	if a.status == nil || a.ok() {
		return show(a.message)
	}
	text := fmt.Sprintf("%v %q", a.status.Code(), a.status.Message())
	if a.message != nil {
		text += " after " + show(a.message)
	}
	return text
}

// difference compares two answers to one request; nil if they agree.
func difference(where string, action action, answers [2]answer) *Difference {
	oracle, subject := answers[0], answers[1]
	found := func(kind, detail string) *Difference {
		return &Difference{kind: where + ": " + kind, action: action.String(), oracle: oracle.String(),
			subject: subject.String(), detail: detail}
	}
	if oracle.status != nil && !proto.Equal(oracle.status.Proto(), subject.status.Proto()) {
		return found("status", "")
	}
	if (oracle.message == nil) != (subject.message == nil) {
		return found("message or none", "")
	}
	if oracle.message == nil {
		return nil
	}
	a, b := proto.Clone(oracle.message), proto.Clone(subject.message)
	for _, each := range ignored {
		if each.clear != nil {
			each.clear(action.request, a)
			each.clear(action.request, b)
		}
	}
	if proto.Equal(a, b) {
		return nil
	}
	return found("message", gocmp.Diff(a, b, protocmp.Transform()))
}
