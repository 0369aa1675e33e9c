package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"keelson.dev/tests/peers/internal/server"
)

// An answer that takes longer than this is itself a difference.
var patience = 20 * time.Second

// door is a member that can be asked, and the long call of keep-alives to it.
type door struct {
	conn      *grpc.ClientConn
	keepalive pb.Lease_LeaseKeepAliveClient
}

// side is one of the two servers and the calls in progress at it.
type side struct {
	name      string
	config    server.Config // for a restart
	server    *server.Server
	crew      *crew    // the members, if there are several; then there is no server
	offsets   *offsets // of the revisions of a cluster; nil: they are the history's own
	unsigned  bool     // who answered is left out: the other side is another cluster
	doors     []*door  // one, or one a member
	at        int      // the door of the action under way
	deadline  time.Duration
	ctx       context.Context
	cancel    context.CancelFunc
	reference *watchStream         // sees every event of the store
	streams   map[int]*watchStream // by the number the history gives them
	twist     *twist
	asked     services
}

// services says which services the history may ask; empty: all.
type services map[string]bool

func newServices(names string) (services, error) {
	asked := services{}
	for _, name := range strings.Fields(names) {
		if !slices.Contains(knownServices, name) {
			return nil, fmt.Errorf("there is no service %q: %s", name, strings.Join(knownServices, ", "))
		}
		asked[name] = true
	}
	return asked, nil
}

var knownServices = []string{"KV", "Watch", "Lease", "Cluster", "Maintenance", "Auth"}

func (s services) has(name string) bool { return len(s) == 0 || s[name] }

// answer is what a call came to: a message, a status, or both (a stream that broke in the middle).
type answer struct {
	message proto.Message
	status  *status.Status
}

func (a answer) ok() bool { return a.status.Code() == 0 }

// startSide starts a server on a new directory and waits until it has settled.
func startSide(ctx context.Context, config server.Config, t *twist, asked services) (*side, error) {
	dir, err := os.MkdirTemp("", "keelson-twin-")
	if err != nil {
		return nil, err
	}
	config.Dir = dir
	ctx, cancel := context.WithCancel(ctx)
	s := &side{name: config.Name, config: config, ctx: ctx, cancel: cancel, twist: t, asked: asked, deadline: patience}
	// A new cluster writes by itself: the first member, the empty entry of the first term, the attributes
	// of the member, the cluster version.
	if err := s.start(4); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// conn is the connection of the action under way.
func (s *side) conn() *grpc.ClientConn { return s.doors[s.at].conn }

// ask makes of a request what this side is asked, and told makes of its answer what the history is told.
func (s *side) ask(request proto.Message) proto.Message {
	if s.offsets == nil {
		return request
	}
	request = proto.Clone(request)
	mapRevisions(request.ProtoReflect(), s.offsets.there)
	return request
}

func (s *side) told(answer proto.Message) {
	if s.unsigned {
		unsign(answer.ProtoReflect())
	}
	if s.offsets != nil {
		mapRevisions(answer.ProtoReflect(), s.offsets.here)
	}
}

func (s *side) start(settledAt uint64) (err error) {
	s.streams = map[int]*watchStream{}
	started, err := server.Start(s.ctx, s.config)
	if err != nil {
		return err // the server that ended stays in s, for its log
	}
	s.server = started
	conn, err := server.Dial(s.server.Endpoint)
	if err != nil {
		return err
	}
	s.doors = []*door{{conn: conn}}
	if !s.asked.has("Maintenance") {
		return nil
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		response, err := s.status()
		// etcd gives its storage version as 3.5.0 until it has written the real one, up to some seconds later.
		if err == nil && response.RaftAppliedIndex >= settledAt &&
			minor(response.StorageVersion) == minor(response.Version) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not settled after its start: %v %v", s.name, response, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// minor is the "3.7" of "3.7.1".
func minor(version string) string { return version[:max(0, strings.LastIndexByte(version, '.'))] }

// restart kills the server and starts it again on its data.
func (s *side) restart() error {
	before := &pb.StatusResponse{}
	if s.asked.has("Maintenance") {
		var err error
		if before, err = s.status(); err != nil {
			return err
		}
	}
	s.doors[0].conn.Close()
	s.server.Kill()
	// A start writes the empty entry of the new term and the attributes of the member.
	return s.start(before.RaftIndex + 2)
}

func (s *side) close() {
	s.cancel()
	for _, door := range s.doors {
		door.conn.Close()
	}
	if s.crew != nil {
		s.crew.close()
	}
	if s.server != nil {
		s.server.Stop()
	}
	os.RemoveAll(s.config.Dir)
}

// newResponse makes the empty answer of "Service/Method".
func newResponse(method protoreflect.FullName) (proto.Message, error) {
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(method)
	if err != nil {
		return nil, err
	}
	output := descriptor.(protoreflect.MethodDescriptor).Output().FullName()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(output)
	if err != nil {
		return nil, err
	}
	return kind.New().Interface(), nil
}

// unary sends one request; method is "KV/Range".
func (s *side) unary(method string, request proto.Message, pairs []string) answer {
	got := s.invoke(method, s.ask(request), pairs)
	if got.message != nil {
		s.told(got.message)
	}
	return s.twist.answer(got)
}

// invoke sends one request in this side's own words.
func (s *side) invoke(method string, request proto.Message, pairs []string) answer {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(s.ctx, pairs...), s.deadline)
	defer cancel()
	service, name := splitMethod(method)
	response, err := newResponse(protoreflect.FullName("etcdserverpb." + service + "." + name))
	if err != nil {
		panic(err) // the grammar names a method that does not exist
	}
	err = s.conn().Invoke(ctx, "/etcdserverpb."+method, request, response)
	if err != nil {
		return answer{status: status.Convert(err)}
	}
	return answer{message: response, status: status.New(0, "")}
}

func splitMethod(method string) (service, name string) {
	for i := range method {
		if method[i] == '/' {
			return method[:i], method[i+1:]
		}
	}
	panic("not a method: " + method)
}

// rangeStream merges the chunks of one RangeStream. Where the chunks are cut is the server's choice; that
// header, more and count come with the last only, and that many keys come in several, is not.
func (s *side) rangeStream(request *pb.RangeRequest) answer {
	ctx, cancel := context.WithTimeout(s.ctx, s.deadline)
	defer cancel()
	stream, err := pb.NewKVClient(s.conn()).RangeStream(ctx, s.ask(request).(*pb.RangeRequest))
	if err != nil {
		return answer{status: status.Convert(err)}
	}
	merged := &pb.RangeResponse{}
	chunks, closing := 0, false
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return answer{message: merged, status: status.Convert(err)}
		}
		part := chunk.GetRangeResponse()
		if closing {
			return answer{status: status.New(2, "twin: a chunk after the one with the header")}
		}
		closing = part.GetHeader() != nil
		if !closing && (part.GetMore() || part.GetCount() != 0) {
			return answer{status: status.New(2, "twin: more or count before the last chunk")}
		}
		proto.Merge(merged, part)
		chunks++
	}
	s.told(merged)
	if len(merged.Kvs) >= 25 && chunks < 2 && request.Limit >= 0 { // etcd sends all at once for a negative limit
		return answer{status: status.New(2, fmt.Sprintf("twin: %d keys in one chunk", len(merged.Kvs)))}
	}
	return s.twist.answer(answer{message: merged, status: status.New(0, "")})
}

// keepAlive renews on one long stream, opened by the first call.
func (s *side) keepAlive(id int64) answer {
	door := s.doors[s.at]
	if door.keepalive == nil {
		stream, err := pb.NewLeaseClient(door.conn).LeaseKeepAlive(s.ctx)
		if err != nil {
			return answer{status: status.Convert(err)}
		}
		door.keepalive = stream
	}
	got := make(chan answer, 1)
	go func() {
		if err := door.keepalive.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
			got <- answer{status: status.Convert(err)}
			return
		}
		response, err := door.keepalive.Recv()
		if err != nil {
			got <- answer{status: status.Convert(err)}
			return
		}
		s.told(response)
		got <- answer{message: response, status: status.New(0, "")}
	}()
	select {
	case a := <-got:
		if !a.ok() {
			door.keepalive = nil
		}
		return a
	case <-time.After(s.deadline):
		door.keepalive = nil
		return answer{status: status.New(4, "twin: no answer to a keep-alive")}
	}
}

func (s *side) status() (*pb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	return pb.NewMaintenanceClient(s.conn()).Status(ctx, &pb.StatusRequest{})
}

// settle waits until what is committed is applied too: an answer may leave just before the applied index
// that Status shows moves on.
func (s *side) settle() error {
	deadline := time.Now().Add(patience)
	for {
		response, err := s.status()
		if err == nil && response.RaftAppliedIndex == response.RaftIndex {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: applied index does not reach the committed one: %v %v", s.name, response, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// twist spoils the answers of the subject on purpose, to show that the twin sees it. Nil spoils nothing.
type twist struct {
	fault   string
	spoiled atomic.Int64 // answers so far
}

var faults = []string{"more", "version", "hash", "watch"}

// newTwist is nil for no fault.
func newTwist(fault string) (*twist, error) {
	if fault == "" {
		return nil, nil
	}
	if !slices.Contains(faults, fault) {
		return nil, fmt.Errorf("there is no fault %q: %s, or all of them one after the other by \"all\"", fault,
			strings.Join(faults, ", "))
	}
	return &twist{fault: fault}, nil
}

// is says whether this is what is to be spoiled now, and counts that it is.
func (t *twist) is(fault string, here bool) bool {
	if t == nil || t.fault != fault || !here {
		return false
	}
	t.spoiled.Add(1)
	return true
}

func (t *twist) answer(a answer) answer {
	switch m := a.message.(type) {
	case *pb.RangeResponse:
		if t.is("more", m.More) {
			m.More = false
		}
		if t.is("version", len(m.Kvs) > 2 && m.Kvs[1].Version > 2) {
			m.Kvs[1].Version++
		}
	case *pb.HashKVResponse:
		if t.is("hash", m.CompactRevision > 5) {
			m.Hash++
		}
	}
	return a
}
