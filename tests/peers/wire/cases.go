package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// wireCase is one row. An outcome is written as the parts of the answer in order: headers as
// `status content-type [grpc-encoding] [grpc-status "grpc-message"]`, `message` for each gRPC message,
// `rst CODE`, `goaway CODE "debug data"`, `open` if the stream did not end.
type wireCase struct {
	name  string
	http1 string // an HTTP/1.1 request line and headers, instead of `ask`
	ask   func(h *conn) string
	want  string
	etcd  string // where etcd answers otherwise
}

func encode(m proto.Message) []byte {
	body, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return body
}

var (
	get      = message(0, encode(&pb.RangeRequest{Key: []byte("wire")}))
	emptyPut = message(0, encode(&pb.PutRequest{}))
	garbage  = message(0, []byte{0x07, 0xff})
)

const (
	rangePath     = "/etcdserverpb.KV/Range"
	putPath       = "/etcdserverpb.KV/Put"
	watchPath     = "/etcdserverpb.Watch/Watch"
	keepAlivePath = "/etcdserverpb.Lease/LeaseKeepAlive"
)

// headers are those of a proper request; each change replaces, removes ("-name") or adds.
func headers(path string, changes ...[2]string) [][2]string {
	fields := [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "localhost"},
		{"content-type", "application/grpc"}, {"te", "trailers"}}
	for _, change := range changes {
		at := slices.IndexFunc(fields, func(f [2]string) bool { return f[0] == strings.TrimPrefix(change[0], "-") })
		switch {
		case strings.HasPrefix(change[0], "-"):
			fields = slices.Delete(fields, at, at+1)
		case at >= 0:
			fields[at] = change
		default:
			fields = append(fields, change)
		}
	}
	return fields
}

// call sends one request as it should be, but for the changes.
func call(path string, body []byte, changes ...[2]string) func(*conn) string {
	return func(h *conn) string {
		if err := h.request(1, headers(path, changes...), false); err != nil {
			return err.Error()
		}
		if err := h.data(1, body, true); err != nil {
			return err.Error()
		}
		// Whether the answer to a refusal overtakes the end of the request, and is then followed by a reset, is
		// a race; openCall has the cases where it must be.
		return strings.TrimSuffix(h.outcome(1), " | rst NO_ERROR")
	}
}

// raw sends these headers as they are, with the end of the stream.
func raw(fields ...[2]string) func(*conn) string {
	return func(h *conn) string {
		if err := h.request(1, fields, true); err != nil {
			return err.Error()
		}
		return h.outcome(1)
	}
}

// openCall leaves the request side open.
func openCall(path string, body []byte, changes ...[2]string) func(*conn) string {
	return func(h *conn) string {
		if err := h.request(1, headers(path, changes...), false); err != nil {
			return err.Error()
		}
		if len(body) > 0 {
			if err := h.data(1, body, false); err != nil {
				return err.Error()
			}
		}
		return h.outcome(1)
	}
}

func field(name, value string) [2]string { return [2]string{name, value} }

const success = `200 application/grpc | message | 0 ""`

var cases = []wireCase{
	// 1. The port.
	{name: "the server's first frame is SETTINGS without a bound on streams, then it acknowledges ours",
		ask: func(h *conn) string {
			h.until(func() bool { return h.acked })
			h.mu.Lock()
			defer h.mu.Unlock()
			bounded := strings.Contains(strings.Join(h.settings, " "), "MAX_CONCURRENT_STREAMS")
			return fmt.Sprintf("%s, ack %v, bound %v", h.first, h.acked, bounded)
		}, want: "SETTINGS, ack true, bound false"},
	{name: "HTTP/2 in clear text is gRPC and nothing else",
		ask:  raw(field(":method", "GET"), field(":scheme", "http"), field(":path", "/health"), field(":authority", "localhost")),
		want: `415 application/grpc 3 "invalid gRPC request content-type \"\""`},
	{name: "the gateway is not served over clear text HTTP/2",
		ask: call("/v3/kv/range", []byte(`{"key":"YQ=="}`), field("content-type", "application/json")), want: `415 application/grpc 3 "invalid gRPC request content-type \"application/json\""`},
	{name: "HTTP/1.1 health", http1: "GET /health", want: `200 {"health":"true","reason":""}`},
	{name: "HTTP/1.1 livez", http1: "GET /livez", want: `200 ok...`},
	{name: "HTTP/1.1 readyz", http1: "GET /readyz", want: `200 ok...`},
	{name: "HTTP/1.1 version", http1: "GET /version", want: `200 {"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}`},
	{name: "HTTP/1.1 metrics", http1: "GET /metrics", want: `200 ...etcd_server_has_leader 1...`},
	{name: "HTTP/1.1 unknown path", http1: "GET /nope", want: "404 404 page not found"},
	{name: "HTTP/1.1 gRPC", http1: "POST /etcdserverpb.KV/Range", want: "404 404 page not found"},
	{name: "HTTP/1.1 wrong method on health", http1: "PUT /health", want: "405 Allow: GET Method Not Allowed"},
	{name: "HTTP/1.1 wrong method on the gateway", http1: "GET /v3/kv/range", want: "404 404 page not found", etcd: `501 {"code":12,..."message":"Method Not Allowed"}`},
	{name: "HTTP/1.1 an expectation nobody has, and bytes behind it", http1: "GET /version HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\nmore",
		want: "417 "},
	{name: "HTTP/1.1 unknown path of the gateway", http1: "POST /v3/nope", want: "404 404 page not found", etcd: `404 {"code":5,..."message":"Not Found"}`},
	{name: "health service", ask: call("/grpc.health.v1.Health/Check", message(0, nil)), want: success},
	{name: "health service lists", ask: call("/grpc.health.v1.Health/List", message(0, nil)), want: success},
	{name: "health of an unknown service", ask: call("/grpc.health.v1.Health/Check", message(0, []byte{0x0a, 1, 'x'})),
		want: `200 application/grpc 5 "unknown service"`},
	{name: "health service watches", ask: call("/grpc.health.v1.Health/Watch", message(0, nil), field("grpc-timeout", "300m")),
		want: `200 application/grpc | message...rst CANCEL`},
	{name: "no reflection", ask: call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", message(0, nil)),
		want: `200 application/grpc 12 "unknown service grpc.reflection.v1.ServerReflection"`},

	// 2. Shape of answers.
	{name: "success", ask: call(rangePath, get), want: success},
	{name: "error before any message is one frame", ask: call(putPath, emptyPut),
		want: `200 application/grpc 3 "etcdserver: key is not provided"`},
	{name: "error on a stream before any message", ask: call("/etcdserverpb.KV/RangeStream", emptyPut),
		want: `200 application/grpc 3 "etcdserver: key is not provided"`},
	{name: "an answer while the request side is open", ask: openCall(rangePath, get), want: success + ` | rst NO_ERROR`},
	{name: "an error while the request side is open", ask: openCall(putPath, emptyPut),
		want: `200 application/grpc 3 "etcdserver: key is not provided" | rst NO_ERROR`},
	{name: "a refusal while the request side is open", ask: openCall("/x.Y/Z", nil),
		want: `200 application/grpc 12 "unknown service x.Y" | rst NO_ERROR`},
	// The end of the handler and the timer of the stream race in etcd: trailers may come before the reset.
	{name: "deadline of an open watch", ask: openCall(watchPath, nil, field("grpc-timeout", "300m")),
		want: `...rst CANCEL`},
	{name: "deadline of a watch that has answered",
		ask: openCall(watchPath, message(0, encode(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: []byte("wire")}}})), field("grpc-timeout", "300m")),
		want: `200 application/grpc | message...rst CANCEL`},
	{name: "content-type +proto", ask: call(rangePath, get, field("content-type", "application/grpc+proto")),
		want: `200 application/grpc+proto | message | 0 ""`},
	{name: "content-type +json is still protobuf", ask: call(rangePath, get, field("content-type", "application/grpc+json")),
		want: `200 application/grpc+json | message | 0 ""`},
	{name: "content-type ;x", ask: call(rangePath, get, field("content-type", "application/grpc;x")),
		want: `200 application/grpc+x | message | 0 ""`},
	{name: "grpc-message is percent-encoded", ask: call("/etcdserverpb.KV/N\xc3\xa9 100%~", get),
		want: `200 application/grpc 12 "unknown method N%C3%A9 100%25~ for service etcdserverpb.KV"`},
	{name: "gzip", ask: call(rangePath, message(1, gzipped(get[5:])), field("grpc-encoding", "gzip")),
		want: `200 application/grpc gzip | gzip message (<nil>) | 0 ""`},
	{name: "gzip announced, not used", ask: call(rangePath, get, field("grpc-encoding", "gzip")),
		want: `200 application/grpc gzip | gzip message (<nil>) | 0 ""`},
	{name: "grpc-encoding identity", ask: call(rangePath, get, field("grpc-encoding", "identity")), want: success},
	{name: "gzip accepted, not used by the caller", ask: call(rangePath, get, field("grpc-accept-encoding", "gzip")), want: success},
	{name: "what says gzip is not", ask: call(rangePath, message(1, get[5:]), field("grpc-encoding", "gzip")), want: `200 application/grpc 13 "grpc: failed to decompress the message: ..."`},
	{name: "gzip of nothing", ask: call(rangePath, message(1, nil), field("grpc-encoding", "gzip")), want: `200 application/grpc 13 "grpc: failed to decompress the message: EOF"`},
	{name: "gzip, three bytes", ask: call(rangePath, message(1, gzipped(get[5:])[:3]), field("grpc-encoding", "gzip")), want: `200 application/grpc 13 "grpc: failed to decompress the message: unexpected EOF"`},
	{name: "gzip, header alone", ask: call(rangePath, message(1, gzipped(get[5:])[:10]), field("grpc-encoding", "gzip")), want: `200 application/grpc 13 "grpc: failed to read decompressed data: unexpected EOF"`},
	{name: "gzip, cut short", ask: call(rangePath, message(1, cut(gzipped(get[5:]), 3)), field("grpc-encoding", "gzip")), want: `200 application/grpc 13 "grpc: failed to read decompressed data: unexpected EOF"`},
	{name: "gzip, cut in the data", ask: call(rangePath, message(1, cut(gzipped(get[5:]), 10)), field("grpc-encoding", "gzip")), want: `200 application/grpc 13 "grpc: failed to read decompressed data: unexpected EOF"`},
	{name: "gzip, wrong checksum", ask: call(rangePath, message(1, append(cut(gzipped(get[5:]), 8), 1, 2, 3, 4, 5, 0, 0, 0)), field("grpc-encoding", "gzip")), want: `200 application/grpc 13 "grpc: failed to read decompressed data: ..."`},
	{name: "gzip, broken data", ask: call(rangePath, message(1, append(gzipped(get[5:])[:10], 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7)), field("grpc-encoding", "gzip")), want: `200 application/grpc 13 "grpc: failed to read decompressed data: ..."`},
	{name: "gzip, and more behind it", ask: call(rangePath, message(1, append(gzipped(get[5:]), "tail"...)), field("grpc-encoding", "gzip")), want: `200 application/grpc 13 "grpc: failed to read decompressed data: ..."`},
	{name: "gzip in two members", ask: call(rangePath, message(1, append(gzipped(get[5:]), gzipped(nil)...)), field("grpc-encoding", "gzip")), want: `200 application/grpc gzip | gzip message (<nil>) | 0 ""`},
	{name: "gzip above the limit", ask: call(putPath, message(1, gzipped(putOf(2200000))), field("grpc-encoding", "gzip")), want: `200 application/grpc 8 "grpc: received message after decompression larger than max 2097152"`},
	{name: "gzip of method 9", ask: call(rangePath, message(1, append([]byte{31, 139, 9}, gzipped(get[5:])[3:]...)), field("grpc-encoding", "gzip")), want: `200 application/grpc 13 "grpc: failed to decompress the message: gzip: invalid header"`},
	{name: "a watch goes on after the client's half-close", ask: watchAfterHalfClose, want: `200 application/grpc | message | message | open`},
	{name: "keep-alives end with the client's half-close",
		ask: call("/etcdserverpb.Lease/LeaseKeepAlive", message(0, encode(&pb.LeaseKeepAliveRequest{ID: 99}))), want: success},
	{name: "keep-alives without a message end too", ask: call("/etcdserverpb.Lease/LeaseKeepAlive", nil),
		want: `200 application/grpc 0 ""`},

	// 3. Refusals.
	{name: "content-type text/plain", ask: call(rangePath, get, field("content-type", "text/plain")),
		want: `415 application/grpc 3 "invalid gRPC request content-type \"text/plain\""`},
	{name: "content-type in upper case", ask: call(rangePath, get, field("content-type", "Application/grpc")),
		want: `415 application/grpc 3 "invalid gRPC request content-type \"Application/grpc\""`},
	{name: "content-type application/grpcx", ask: call(rangePath, get, field("content-type", "application/grpcx")),
		want: `415 application/grpc 3 "invalid gRPC request content-type \"application/grpcx\""`},
	{name: "no content-type", ask: call(rangePath, get, field("-content-type", "")), want: `415 application/grpc 3 "invalid gRPC request content-type \"\""`},
	{name: "method GET", ask: call(rangePath, get, field(":method", "GET")),
		want: `405 application/grpc 13 "Received a HEADERS frame with :method \"GET\" which should be POST"`},
	{name: "te missing", ask: call(rangePath, get, field("-te", "")), want: success},
	{name: "path without second slash", ask: call("/nope", get), want: `200 application/grpc 12 "malformed method name: \"/nope\""`},
	{name: "path without leading slash", ask: call("etcdserverpb.KV/Range", get), want: `200 application/grpc 12 "malformed method name: \"etcdserverpb.KV/Range\""`},
	{name: "unknown service", ask: call("/x.Y/Z", get), want: `200 application/grpc 12 "unknown service x.Y"`},
	{name: "unknown method", ask: call("/etcdserverpb.KV/Nope", get),
		want: `200 application/grpc 12 "unknown method Nope for service etcdserverpb.KV"`},
	{name: "path with three slashes", ask: call("/a/etcdserverpb.KV/Range", get), want: `200 application/grpc 12 "unknown service a/etcdserverpb.KV"`},
	{name: "grpc-timeout without unit", ask: call(rangePath, get, field("grpc-timeout", "1")),
		want: `400 application/grpc 13 "malformed grpc-timeout: transport: timeout string is too short: \"1\""`},
	{name: "grpc-timeout with nine digits", ask: call(rangePath, get, field("grpc-timeout", "123456789S")),
		want: `400 application/grpc 13 "malformed grpc-timeout: transport: timeout string is too long: \"123456789S\""`},
	{name: "grpc-timeout with an unknown unit", ask: call(rangePath, get, field("grpc-timeout", "12X")), want: `400 application/grpc 13 "malformed grpc-timeout: transport: timeout unit is not recognized: \"12X\""`},
	{name: "grpc-timeout that is no number", ask: call(rangePath, get, field("grpc-timeout", "abS")), want: `400 application/grpc 13 "malformed grpc-timeout: strconv.ParseUint: parsing \"ab\": invalid syntax"`},
	{name: "grpc-timeout with eight digits", ask: call(rangePath, get, field("grpc-timeout", "12345678S")), want: success},
	{name: "grpc-timeout 0S", ask: call(rangePath, get, field("grpc-timeout", "0S")),
		want: `200 application/grpc 4 "context deadline exceeded"`},
	{name: "grpc-timeout 1n", ask: call(rangePath, get, field("grpc-timeout", "1n")),
		want: `200 application/grpc 4 "context deadline exceeded"`},
	{name: "bad base64 in a -bin header", ask: call(rangePath, get, field("x-bin", "***")),
		want: `400 application/grpc 13 "malformed binary metadata \"***\" in header \"x-bin\": illegal base64 data at input byte 0"`},
	{name: "base64 with and without padding", ask: call(rangePath, get, field("x-bin", "YQ=="), field("y-bin", "YQ")), want: success},
	{name: "upper-case header name", ask: call(rangePath, get, field("X-Upper", "1")), want: `rst PROTOCOL_ERROR`},
	{name: "connection header", ask: call(rangePath, get, field("connection", "close")), want: `rst PROTOCOL_ERROR`},
	{name: "pseudo header after a regular one",
		ask: raw(field(":method", "POST"), field(":scheme", "http"), field("te", "trailers"), field(":path", rangePath),
			field("content-type", "application/grpc")), want: `rst PROTOCOL_ERROR`},
	{name: "duplicate pseudo header",
		ask: raw(field(":method", "POST"), field(":scheme", "http"), field(":path", rangePath), field(":path", rangePath),
			field("content-type", "application/grpc")), want: `rst PROTOCOL_ERROR`},
	{name: "flag 1 without grpc-encoding", ask: call(rangePath, message(1, get[5:])),
		want: `200 application/grpc 13 "grpc: compressed flag set with identity or empty encoding"`},
	{name: "unknown grpc-encoding, flag 0", ask: call(rangePath, get, field("grpc-encoding", "zork")),
		want: `200 application/grpc 12 "grpc: Decompressor is not installed for grpc-encoding \"zork\""`},
	{name: "unknown grpc-encoding, flag 1", ask: call(rangePath, message(1, get[5:]), field("grpc-encoding", "zork")),
		want: `200 application/grpc 12 "grpc: Decompressor is not installed for grpc-encoding \"zork\""`},
	{name: "flag 2", ask: call(rangePath, message(2, get[5:])),
		want: `200 application/grpc 13 "grpc: received unexpected payload format 2"`},
	{name: "the stream ends in mid-message", ask: call(rangePath, get[:len(get)-1]), want: `200 application/grpc 2 "unexpected EOF"`},
	{name: "the stream ends in mid-prefix", ask: call(rangePath, get[:3]), want: `200 application/grpc 2 "EOF"`},
	{name: "a server stream ends in mid-message", ask: call("/etcdserverpb.KV/RangeStream", get[:len(get)-1]), want: `200 application/grpc 13 "unexpected EOF"`},
	{name: "a server stream ends in mid-prefix", ask: call("/etcdserverpb.KV/RangeStream", get[:3]), want: `200 application/grpc 13 "cardinality violation: received no request message from non-client-streaming RPC"`},
	{name: "a server stream ends with nothing", ask: call("/etcdserverpb.KV/RangeStream", nil, field("grpc-timeout", "500m")), want: `200 application/grpc 13 "cardinality violation: received no request message from non-client-streaming RPC"`},
	{name: "a server stream with two messages", ask: call("/etcdserverpb.KV/RangeStream", slices.Concat(get, get), field("grpc-timeout", "500m")), want: `200 application/grpc 13 "cardinality violation: received multiple request messages for non-client-streaming RPC"`},
	{name: "a stream ends in mid-message", ask: call(keepAlivePath, cut(message(0, encode(&pb.LeaseKeepAliveRequest{ID: 99})), 1)), want: `200 application/grpc 13 "unexpected EOF"`},
	{name: "a stream ends in mid-prefix", ask: call(keepAlivePath, get[:3]), want: `200 application/grpc 0 ""`},
	{name: "a watch ends in mid-message", ask: call(watchPath, cut(createWatch("x"), 1), field("grpc-timeout", "500m")), want: `200 application/grpc 13 "unexpected EOF"`},
	// etcd's own deadline races the one that resets the stream.
	{name: "a watch ends in mid-prefix", ask: call(watchPath, get[:3], field("grpc-timeout", "500m")), want: `rst CANCEL`,
		etcd: `rst CANCEL OR 200 application/grpc 4 "context deadline exceeded" | rst CANCEL`},
	{name: "headers of 100 KB in fifty", ask: call(rangePath, get, many(50, 2000)...), want: success},
	{name: "a unary message that does not parse", ask: call(rangePath, garbage),
		want: `200 application/grpc 13 "grpc: error unmarshalling request: proto:...cannot parse invalid wire-format data"`},
	{name: "a string that is no UTF-8", ask: call("/etcdserverpb.Auth/UserAdd", message(0, []byte{0x0a, 1, 0xff})), want: `200 application/grpc 12 "keelson: UserAdd is not there yet"`, etcd: `200 application/grpc 13 "grpc: error unmarshalling request: ...invalid UTF-8"`},
	{name: "a stream message that does not parse", ask: openCall(watchPath, garbage),
		want: `200 application/grpc 13 "grpc: failed to unmarshal the received message: proto:...cannot parse invalid wire-format data" | rst NO_ERROR`},
	{name: "message above the limit, by its prefix alone", ask: openCall(putPath, []byte{0, 0x00, 0x21, 0x91, 0xc8}),
		want: `200 application/grpc 8 "grpc: received message larger than max (2200008 vs. 2097152)" | rst NO_ERROR`},
	{name: "message of exactly the limit, request too large", ask: call(putPath, message(0, putOf(2097152))),
		want: `200 application/grpc 3 "etcdserver: request is too large"`},
	{name: "message one byte above the limit", ask: openCall(putPath, message(0, putOf(2097153))),
		want: `200 application/grpc 8 "grpc: received message larger than max (2097153 vs. 2097152)" | rst NO_ERROR`},
	{name: "request of 1.5 MB", ask: call(putPath, message(0, putOf(1_500_000))), want: success},
	{name: "second message on a unary call is ignored", ask: call(rangePath, slices.Concat(get, garbage)), want: success},
	{name: "unary call that ends in an empty DATA frame", ask: call(rangePath, nil, field("grpc-timeout", "500m")),
		want: `200 application/grpc 13 ...`, etcd: `200 application/grpc 2 "EOF"`},
	{name: "unary call that ends with its headers", ask: raw(headers(rangePath, field("grpc-timeout", "500m"))...),
		want: `200 application/grpc 13 ...`, etcd: `...rst CANCEL`}, // left open until the deadline
	{name: "a watch message with nothing set is ignored", ask: ignoredWatchMessage, want: `200 application/grpc | message | open`},
	{name: "pings too often", ask: pings, want: `goaway ENHANCE_YOUR_CALM "too_many_pings", closed true`},
}

// many is n headers of about `size` bytes each.
func many(n, size int) (fields [][2]string) {
	for i := range n {
		fields = append(fields, field(fmt.Sprintf("x-many-%d", i), strings.Repeat("m", size)))
	}
	return fields
}

func cut(body []byte, n int) []byte { return body[:len(body)-n] }

// putOf is a Put of exactly n bytes.
func putOf(n int) []byte {
	value := make([]byte, n)
	for {
		body := encode(&pb.PutRequest{Key: []byte("wire"), Value: value})
		if len(body) == n {
			return body
		}
		value = value[:len(value)-(len(body)-n)]
	}
}

func createWatch(key string) []byte {
	return message(0, encode(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte(key)}}}))
}

func watchAfterHalfClose(h *conn) string {
	if err := h.request(1, headers(watchPath), false); err != nil {
		return err.Error()
	}
	if err := h.data(1, createWatch("half"), true); err != nil {
		return err.Error()
	}
	h.until(func() bool { return len(h.streams[1].parts) >= 2 })
	if err := h.request(3, headers(putPath), false); err != nil {
		return err.Error()
	}
	if err := h.data(3, message(0, encode(&pb.PutRequest{Key: []byte("half")})), true); err != nil {
		return err.Error()
	}
	h.until(func() bool { return len(h.streams[1].parts) >= 3 && h.streams[3].closed })
	return h.describe(1)
}

func ignoredWatchMessage(h *conn) string {
	if err := h.request(1, headers(watchPath), false); err != nil {
		return err.Error()
	}
	if err := h.data(1, slices.Concat(message(0, nil), createWatch("x")), false); err != nil {
		return err.Error()
	}
	h.until(func() bool { return len(h.streams[1].parts) >= 2 })
	return h.describe(1)
}

// pings come at once, with no stream open: the allowance is soon spent.
func pings(h *conn) string {
	for i := range 10 {
		h.write(func() error { return h.framer.WritePing(false, [8]byte{byte(i)}) })
	}
	h.until(func() bool { return h.ended != nil })
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("%s, closed %v", h.goaway, h.ended != nil)
}

func http1(endpoint, request string) string {
	c, err := net.DialTimeout("tcp", endpoint, patience)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if !strings.Contains(request, "\n") {
		request += " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	}
	io.WriteString(c, request)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprint(r.StatusCode)
	if allow := r.Header.Get("Allow"); allow != "" {
		text += " Allow: " + allow
	}
	return text + " " + strings.TrimSpace(string(body))
}
