package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Rows of HTTP/2 that no client should speak: what RFC 9113 calls an error ends the stream or the connection with
// its code. grpc-go closes many such connections without a word and overlooks others. Their outcome is the connection's: `alive` if it still answers a
// ping, else `goaway CODE "debug data", closed`, with what became of stream 1 before it, if it was opened.

// frame sends one frame as it is told, right or wrong.
func (h *conn) frame(kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) error {
	return h.write(func() error { return h.framer.WriteRawFrame(kind, flags, stream, payload) })
}

// state waits for the end of the connection, or for answers to pings.
func (h *conn) state() string {
	h.settle(func() bool { return h.ended != nil })
	h.mu.Lock()
	defer h.mu.Unlock()
	var parts []string
	if s := h.streams[1]; s != nil {
		parts = append(parts, s.parts...)
	}
	if h.goaway != "" {
		parts = append(parts, h.goaway)
	}
	if h.ended != nil {
		parts = append(parts, "closed")
	} else {
		parts = append(parts, "alive")
	}
	return strings.Join(parts, ", ")
}

// frames opens nothing, sends what `send` says, and gives the connection's state.
func frames(send func(h *conn)) func(*conn) string {
	return func(h *conn) string {
		send(h)
		return h.state()
	}
}

// during does the same with a Watch stream open as stream 1.
func during(send func(h *conn)) func(*conn) string {
	return func(h *conn) string {
		if err := h.request(1, headers(watchPath), false); err != nil {
			return err.Error()
		}
		send(h)
		return h.state()
	}
}

func setting(id http2.SettingID, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, uint16(id)), value)
}

// block encodes headers for the next request of this connection.
func (h *conn) block(fields [][2]string) []byte {
	h.headers.Reset()
	for _, f := range fields {
		h.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return slices.Clone(h.headers.Bytes())
}

const (
	endStream  = http2.FlagDataEndStream
	endHeaders = http2.FlagHeadersEndHeaders
)

func uint32Bytes(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

var frameCases = []wireCase{
	{name: "frames: nothing wrong", ask: frames(func(h *conn) {}), want: `alive`},
	{name: "frames: an unknown type is ignored", ask: frames(func(h *conn) { h.frame(0x42, 0xff, 7, []byte("what")) }), want: `alive`},
	{name: "frames: priority of a stream that is not there is ignored",
		ask: frames(func(h *conn) { h.frame(http2.FramePriority, 0, 5, []byte{0, 0, 0, 0, 16}) }), want: `alive`},
	{name: "frames: an unknown setting is ignored",
		ask: frames(func(h *conn) { h.frame(http2.FrameSettings, 0, 0, setting(0x99, 1)) }), want: `alive`},
	{name: "frames: SETTINGS of a length no settings have",
		ask: frames(func(h *conn) { h.frame(http2.FrameSettings, 0, 0, []byte{0, 1, 2}) }), want: `goaway FRAME_SIZE_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: SETTINGS on a stream",
		ask: frames(func(h *conn) { h.frame(http2.FrameSettings, 0, 1, nil) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: a SETTINGS ack with a payload",
		ask: frames(func(h *conn) { h.frame(http2.FrameSettings, http2.FlagSettingsAck, 0, setting(1, 1)) }), want: `goaway FRAME_SIZE_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: a window above 2^31-1 in SETTINGS",
		ask: frames(func(h *conn) { h.frame(http2.FrameSettings, 0, 0, setting(http2.SettingInitialWindowSize, 1<<31)) }), want: `goaway FLOW_CONTROL_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: push that is neither on nor off",
		ask: frames(func(h *conn) { h.frame(http2.FrameSettings, 0, 0, setting(http2.SettingEnablePush, 2)) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `alive`},
	{name: "frames: a frame size below the least in SETTINGS",
		ask: frames(func(h *conn) { h.frame(http2.FrameSettings, 0, 0, setting(http2.SettingMaxFrameSize, 100)) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `alive`},
	{name: "frames: a PING of seven bytes", ask: frames(func(h *conn) { h.frame(http2.FramePing, 0, 0, []byte("seven b")) }), want: `goaway FRAME_SIZE_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: a PING on a stream", ask: frames(func(h *conn) { h.frame(http2.FramePing, 0, 1, []byte("12345678")) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: DATA on stream 0", ask: frames(func(h *conn) { h.frame(http2.FrameData, 0, 0, []byte("x")) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: DATA on a stream never opened", ask: frames(func(h *conn) { h.frame(http2.FrameData, 0, 1, []byte("x")) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `alive`},
	{name: "frames: HEADERS on stream 0",
		ask: frames(func(h *conn) { h.frame(http2.FrameHeaders, endHeaders, 0, h.block(headers(rangePath))) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: HEADERS on an even stream",
		ask: frames(func(h *conn) { h.frame(http2.FrameHeaders, endHeaders, 2, h.block(headers(rangePath))) }), want: `goaway PROTOCOL_ERROR ..., closed`},
	{name: "frames: HEADERS on a stream below the last", // may cross with its end
		ask: frames(func(h *conn) {
			h.frame(http2.FrameHeaders, endHeaders, 5, h.block(headers(watchPath)))
			h.frame(http2.FrameHeaders, endHeaders, 3, h.block(headers(watchPath)))
		}), want: `...`, etcd: `goaway PROTOCOL_ERROR ..., closed`},
	{name: "frames: RST_STREAM of a stream never opened",
		ask: frames(func(h *conn) { h.frame(http2.FrameRSTStream, 0, 1, uint32Bytes(8)) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `alive`},
	{name: "frames: RST_STREAM of three bytes", ask: during(func(h *conn) { h.frame(http2.FrameRSTStream, 0, 1, []byte{0, 0, 8}) }), want: `goaway FRAME_SIZE_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: PUSH_PROMISE from a client",
		ask: during(func(h *conn) {
			h.frame(http2.FramePushPromise, endHeaders, 1, append(uint32Bytes(2), h.block(headers(rangePath))...))
		}), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `alive`},
	{name: "frames: CONTINUATION after nothing",
		ask: frames(func(h *conn) { h.frame(http2.FrameContinuation, endHeaders, 1, h.block(headers(rangePath))) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: a header block broken off by DATA",
		ask: frames(func(h *conn) {
			h.frame(http2.FrameHeaders, 0, 1, h.block(headers(rangePath)))
			h.frame(http2.FrameData, endStream, 1, get)
		}), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: a header block in three frames",
		ask: func(h *conn) string {
			h.mu.Lock()
			h.streams[1] = &stream{window: h.initial}
			h.mu.Unlock()
			block := h.block(headers(rangePath))
			h.frame(http2.FrameHeaders, 0, 1, block[:5])
			h.frame(http2.FrameContinuation, 0, 1, block[5:9])
			h.frame(http2.FrameContinuation, endHeaders, 1, block[9:])
			h.data(1, get, true)
			return h.outcome(1)
		}, want: success},
	{name: "frames: padding beyond the payload",
		ask: during(func(h *conn) { h.frame(http2.FrameData, http2.FlagDataPadded, 1, []byte{200, 1, 2}) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: padded DATA and HEADERS are taken",
		ask: func(h *conn) string {
			h.mu.Lock()
			h.streams[1] = &stream{window: h.initial}
			h.mu.Unlock()
			block := append(append([]byte{3}, h.block(headers(rangePath))...), 0, 0, 0)
			h.frame(http2.FrameHeaders, endHeaders|http2.FlagHeadersPadded, 1, block)
			h.frame(http2.FrameData, endStream|http2.FlagDataPadded, 1, append(append([]byte{4}, get...), 0, 0, 0, 0))
			return h.outcome(1)
		}, want: success},
	{name: "frames: an HPACK index that nobody filled",
		ask: frames(func(h *conn) { h.frame(http2.FrameHeaders, endHeaders, 1, []byte{0xff, 0xff, 0x7f}) }), want: `goaway COMPRESSION_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: an HPACK string longer than its block",
		ask: frames(func(h *conn) { h.frame(http2.FrameHeaders, endHeaders, 1, []byte{0x40, 0x7f, 'x'}) }), want: `goaway COMPRESSION_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: an HPACK table beyond what was agreed",
		ask: frames(func(h *conn) { h.frame(http2.FrameHeaders, endHeaders, 1, []byte{0x3f, 0xe1, 0xff, 0x7f}) }), want: `goaway COMPRESSION_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: WINDOW_UPDATE of nothing, connection",
		ask: frames(func(h *conn) { h.frame(http2.FrameWindowUpdate, 0, 0, uint32Bytes(0)) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: WINDOW_UPDATE of nothing, stream",
		ask: during(func(h *conn) { h.frame(http2.FrameWindowUpdate, 0, 1, uint32Bytes(0)) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `rst PROTOCOL_ERROR, alive`},
	{name: "frames: a window above 2^31-1, connection",
		ask: frames(func(h *conn) {
			h.frame(http2.FrameWindowUpdate, 0, 0, uint32Bytes(1<<31-1))
			h.frame(http2.FrameWindowUpdate, 0, 0, uint32Bytes(1<<31-1))
		}), want: `goaway FLOW_CONTROL_ERROR ..., closed`, etcd: `alive`},
	{name: "frames: a window above 2^31-1, stream",
		ask: during(func(h *conn) {
			h.frame(http2.FrameWindowUpdate, 0, 1, uint32Bytes(1<<31-1))
			h.frame(http2.FrameWindowUpdate, 0, 1, uint32Bytes(1<<31-1))
		}), want: `rst FLOW_CONTROL_ERROR, alive`, etcd: `alive`},
	{name: "frames: WINDOW_UPDATE of three bytes",
		ask: frames(func(h *conn) { h.frame(http2.FrameWindowUpdate, 0, 0, []byte{0, 0, 1}) }), want: `goaway FRAME_SIZE_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: a frame above 16,384 bytes",
		ask: during(func(h *conn) { h.frame(http2.FrameData, 0, 1, make([]byte, 16385)) }), want: `goaway FRAME_SIZE_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: a frame that says it is 16 MB",
		ask: frames(func(h *conn) {
			h.write(func() error { _, err := h.net.Write([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1}); return err })
		}), want: `goaway FRAME_SIZE_ERROR ..., closed`, etcd: `closed`},
	{name: "frames: DATA after the end of the request",
		ask: func(h *conn) string {
			h.request(1, headers(watchPath), false)
			h.data(1, nil, true)
			h.frame(http2.FrameData, 0, 1, []byte("more"))
			return h.state()
		}, want: `goaway STREAM_CLOSED ..., closed`, etcd: `rst STREAM_CLOSED, alive`},
	{name: "frames: HEADERS again on an open stream",
		ask: during(func(h *conn) { h.frame(http2.FrameHeaders, endHeaders, 1, h.block([][2]string{{"x", "y"}})) }), want: `rst PROTOCOL_ERROR, alive`, etcd: `goaway PROTOCOL_ERROR ..., closed`},
	{name: "frames: trailers end a request",
		ask: func(h *conn) string {
			h.request(1, headers(rangePath), false)
			h.data(1, get, false)
			h.frame(http2.FrameHeaders, endHeaders|endStream, 1, h.block([][2]string{{"x", "y"}}))
			return h.outcome(1)
		}, want: success, etcd: `...goaway PROTOCOL_ERROR ...`},
	{name: "frames: a priority that depends on itself",
		ask: frames(func(h *conn) { h.frame(http2.FramePriority, 0, 1, []byte{0, 0, 0, 1, 16}) }), want: `goaway PROTOCOL_ERROR ..., closed`, etcd: `alive`},
	{name: "frames: GOAWAY from a client",
		ask: during(func(h *conn) { h.frame(http2.FrameGoAway, 0, 0, make([]byte, 8)) }), want: `alive`},
	{name: "frames: a header of 60 KB", ask: call(rangePath, get, field("x-long", strings.Repeat("x", 60_000))), want: success},
	{name: "frames: more than the window",
		ask: func(h *conn) string {
			h.request(1, headers(putPath), false)
			body := message(0, putOf(1_500_000))
			for len(body) > 0 {
				n := min(len(body), 16384)
				if h.frame(http2.FrameData, 0, 1, body[:n]) != nil {
					break
				}
				body = body[n:]
			}
			return h.state()
		}, want: `...alive`},
}

// opening sends these bytes instead of the preface and gives what comes back until the end.
func opening(h *conn, bytes string) string {
	io.WriteString(h.net, bytes)
	all, err := io.ReadAll(h.net)
	return fmt.Sprintf("%q %v", all, err)
}
