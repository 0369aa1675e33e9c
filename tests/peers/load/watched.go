package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"keelson.dev/tests/peers/internal/server"
)

// perStream is how many watchers share a stream, and a connection.
const perStream = 100

// objectWatchers follow objects by turns, each stream at another member. What they are sent is counted and not
// decoded: whoever measures servers on the machine they run on must not take their cores.
type objectWatchers struct {
	perObject []int64 // watchers of each
	delivered atomic.Int64
	failed    chan error // the first stream that ended before its time
	conns     []*grpc.ClientConn
}

func (b *bench) watchObjects(ctx context.Context, object func(int) string, objects int) (*objectWatchers, error) {
	w := &objectWatchers{perObject: make([]int64, objects), failed: make(chan error, 1)}
	for first := 0; first < *watchers; first += perStream {
		conn, err := server.Dial(b.endpoints[first/perStream%len(b.endpoints)])
		if err != nil {
			return w, err
		}
		w.conns = append(w.conns, conn)
		count := min(perStream, *watchers-first)
		stream, err := openWatch(ctx, conn, count, func(i int) string { return object((first + i) % objects) })
		if err != nil {
			return w, err
		}
		for i := range count {
			w.perObject[(first+i)%objects]++
		}
		go w.follow(ctx, stream)
	}
	return w, nil
}

func (w *objectWatchers) close() {
	for _, conn := range w.conns {
		conn.Close()
	}
}

func (w *objectWatchers) follow(ctx context.Context, stream grpc.ClientStream) {
	for {
		var got watchAnswer
		if err := got.receive(stream); err != nil {
			if ctx.Err() == nil {
				select {
				case w.failed <- err:
				default:
				}
			}
			return
		}
		w.delivered.Add(got.events)
	}
}

// await waits until all events of so many updates of each object have come.
func (w *objectWatchers) await(updates []int64) error {
	var expected int64
	for object, count := range updates {
		expected += count * w.perObject[object]
	}
	for end := time.Now().Add(time.Minute); w.delivered.Load() < expected; {
		select {
		case err := <-w.failed:
			return fmt.Errorf("a watch ended: %w", err)
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d events came", w.delivered.Load(), expected)
		}
	}
	if got := w.delivered.Load(); got > expected {
		return fmt.Errorf("%d events came where there were %d", got, expected)
	}
	return nil
}

// openWatch makes watchers on one stream and waits until all are there.
func openWatch(ctx context.Context, conn *grpc.ClientConn, count int, key func(int) string) (grpc.ClientStream, error) {
	description := &grpc.StreamDesc{StreamName: "Watch", ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(ctx, description, "/etcdserverpb.Watch/Watch", grpc.ForceCodecV2(countingCodec{}))
	if err != nil {
		return nil, err
	}
	for i := range count {
		create := &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte(key(i))}}
		if err := stream.SendMsg(&pb.WatchRequest{RequestUnion: create}); err != nil {
			return nil, err
		}
	}
	for created := 0; created < count; {
		var got watchAnswer
		if err := got.receive(stream); err != nil {
			return nil, err
		}
		if got.created {
			created++
		}
	}
	return stream, nil
}

// watchAnswer is what counts of a WatchResponse.
type watchAnswer struct {
	created, canceled bool
	events            int64
}

func (a *watchAnswer) receive(stream grpc.ClientStream) error {
	if err := stream.RecvMsg(a); err != nil {
		return err
	}
	if a.canceled {
		return errors.New("a watcher was canceled")
	}
	return nil
}

func (a *watchAnswer) count(data []byte) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		switch number {
		case 3:
			a.created = true
		case 4:
			a.canceled = true
		case 11:
			a.events++
		}
	}
	return nil
}

// countingCodec writes protobuf and reads watchAnswers.
type countingCodec struct{}

func (countingCodec) Name() string { return "proto" }

func (countingCodec) Marshal(v any) (mem.BufferSlice, error) {
	message, is := v.(proto.Message)
	if !is {
		return nil, fmt.Errorf("%T is no message", v)
	}
	data, err := proto.Marshal(message)
	return mem.BufferSlice{mem.SliceBuffer(data)}, err
}

func (countingCodec) Unmarshal(data mem.BufferSlice, v any) error {
	answer, is := v.(*watchAnswer)
	if !is {
		return fmt.Errorf("%T is no watch answer", v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	return answer.count(buffer.ReadOnlyData())
}

var _ encoding.CodecV2 = countingCodec{}
