package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// conn is an HTTP/2 client that does nothing by itself but count windows and answer pings and settings:
// each frame is asked for, so that wrong ones can be sent too.
type conn struct {
	net      net.Conn
	framer   *http2.Framer
	headers  bytes.Buffer
	encoder  *hpack.Encoder
	decoder  *hpack.Decoder
	writing  sync.Mutex // frames leave one at a time
	mu       sync.Mutex
	changed  *sync.Cond
	streams  map[uint32]*stream
	settings []string // of the server's first SETTINGS
	first    string   // type of the first frame
	acked    bool
	goaway   string
	ended    error
	window   int64
	initial  int64
	pongs    int
}

// stream is what came back on one stream.
type stream struct {
	parts  []string // in order: headers, messages, trailers, reset
	body   bytes.Buffer
	window int64
	closed bool
}

const patience = 10 * time.Second

const frameBytesMax = 16384

func dial(endpoint string) (*conn, error) {
	c, err := net.DialTimeout("tcp", endpoint, patience)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(3 * patience))
	h := &conn{net: c, framer: http2.NewFramer(c, c), streams: map[uint32]*stream{}, window: 65535, initial: 65535}
	h.encoder = hpack.NewEncoder(&h.headers)
	h.decoder = hpack.NewDecoder(4096, nil)
	h.changed = sync.NewCond(&h.mu)
	if _, err = io.WriteString(c, http2.ClientPreface); err == nil {
		err = h.framer.WriteSettings()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	go h.read()
	return h, nil
}

func (h *conn) close() { h.net.Close() }

func (h *conn) read() {
	for {
		frame, err := h.framer.ReadFrame()
		h.mu.Lock()
		if err != nil {
			h.ended = err
			h.changed.Broadcast()
			h.mu.Unlock()
			return
		}
		h.take(frame)
		h.changed.Broadcast()
		h.mu.Unlock()
	}
}

func (h *conn) take(frame http2.Frame) {
	if h.first == "" {
		h.first = frame.Header().Type.String()
	}
	s := h.streams[frame.Header().StreamID]
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			h.acked = true
			return
		}
		var changes []http2.Setting
		f.ForeachSetting(func(setting http2.Setting) error {
			h.settings = append(h.settings, setting.String())
			changes = append(changes, setting)
			return nil
		})
		// Nothing may be sent under new settings before they are acknowledged.
		go func() {
			if h.write(h.framer.WriteSettingsAck) == nil {
				h.apply(changes)
			}
		}()
	case *http2.PingFrame:
		if f.IsAck() {
			h.pongs++
		} else {
			data := f.Data
			go h.write(func() error { return h.framer.WritePing(true, data) })
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			h.window += int64(f.Increment)
		} else if s != nil {
			s.window += int64(f.Increment)
		}
	case *http2.GoAwayFrame:
		h.goaway = fmt.Sprintf("goaway %v %q", f.ErrCode, f.DebugData())
	case *http2.HeadersFrame:
		fields, err := h.decoder.DecodeFull(f.HeaderBlockFragment())
		if s == nil || err != nil {
			h.ended = fmt.Errorf("headers nobody can read: %v", err)
			return
		}
		s.parts = append(s.parts, describeHeaders(fields))
		s.closed = s.closed || f.StreamEnded()
	case *http2.DataFrame:
		if s == nil {
			return
		}
		s.body.Write(f.Data())
		s.takeMessages()
		s.closed = s.closed || f.StreamEnded()
		if n := uint32(len(f.Data())); n > 0 {
			id := f.StreamID
			go h.write(func() error {
				return errors.Join(h.framer.WriteWindowUpdate(0, n), h.framer.WriteWindowUpdate(id, n))
			})
		}
	case *http2.RSTStreamFrame:
		if s != nil {
			s.parts = append(s.parts, "rst "+f.ErrCode.String())
			s.closed = true
		}
	}
}

func (h *conn) apply(settings []http2.Setting) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, setting := range settings {
		if setting.ID == http2.SettingInitialWindowSize {
			for _, each := range h.streams {
				each.window += int64(setting.Val) - h.initial
			}
			h.initial = int64(setting.Val)
		}
	}
	h.changed.Broadcast()
}

// describeHeaders keeps what the contract speaks of.
func describeHeaders(fields []hpack.HeaderField) string {
	value := map[string]string{}
	has := map[string]bool{}
	for _, f := range fields {
		value[f.Name], has[f.Name] = f.Value, true
	}
	var words []string
	for _, name := range []string{":status", "content-type", "grpc-encoding", "grpc-status"} {
		if has[name] {
			words = append(words, value[name])
		}
	}
	if has["grpc-message"] {
		words = append(words, fmt.Sprintf("%q", value["grpc-message"]))
	}
	return strings.Join(words, " ")
}

// takeMessages replaces complete gRPC messages of the body by a word each.
func (s *stream) takeMessages() {
	for s.body.Len() >= 5 {
		prefix := s.body.Bytes()[:5]
		n := int(binary.BigEndian.Uint32(prefix[1:]))
		if s.body.Len() < 5+n {
			return
		}
		word := "message"
		if prefix[0] == 1 {
			reader, err := gzip.NewReader(bytes.NewReader(s.body.Bytes()[5 : 5+n]))
			if err == nil {
				_, err = io.ReadAll(reader)
			}
			word = fmt.Sprintf("gzip message (%v)", err)
		} else if prefix[0] != 0 {
			word = fmt.Sprintf("message with flag %d", prefix[0])
		}
		s.body.Next(5 + n)
		s.parts = append(s.parts, word)
	}
}

func (h *conn) write(frame func() error) error {
	h.writing.Lock()
	defer h.writing.Unlock()
	return frame()
}

// request opens a stream with exactly these headers.
func (h *conn) request(id uint32, fields [][2]string, end bool) error {
	h.mu.Lock()
	h.streams[id] = &stream{window: h.initial}
	h.mu.Unlock()
	return h.write(func() error {
		h.headers.Reset()
		for _, f := range fields {
			h.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		block := h.headers.Bytes()
		first := block[:min(len(block), frameBytesMax)]
		block = block[len(first):]
		err := h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first,
			EndHeaders: len(block) == 0, EndStream: end})
		for len(block) > 0 && err == nil {
			next := block[:min(len(block), frameBytesMax)]
			block = block[len(next):]
			err = h.framer.WriteContinuation(id, len(block) == 0, next)
		}
		return err
	})
}

// data sends within the windows the server gives.
func (h *conn) data(id uint32, body []byte, end bool) error {
	for first := true; first || len(body) > 0; first = false {
		h.mu.Lock()
		s := h.streams[id]
		for len(body) > 0 && min(h.window, s.window) <= 0 && h.ended == nil && !s.closed {
			h.changed.Wait()
		}
		if s.closed || h.ended != nil {
			h.mu.Unlock()
			return h.ended // the answer came before the end of the request
		}
		n := min(int64(len(body)), frameBytesMax)
		if n > 0 {
			n = min(n, h.window, s.window)
		}
		h.window -= n
		s.window -= n
		h.mu.Unlock()
		part := body[:n]
		body = body[n:]
		if err := h.write(func() error { return h.framer.WriteData(id, end && len(body) == 0, part) }); err != nil {
			return err
		}
	}
	return nil
}

// until waits for a condition; the end of the connection ends it too.
func (h *conn) until(condition func() bool) bool {
	stop := time.AfterFunc(patience, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ended = errors.New("nothing more in time")
		h.changed.Broadcast()
	})
	defer stop.Stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	for !condition() && h.ended == nil {
		h.changed.Wait()
	}
	return condition()
}

// outcome waits for the end of a stream and describes all that came back. A reset that follows the end is
// part of the answer.
func (h *conn) outcome(id uint32) string {
	h.until(func() bool { return h.streams[id].closed || h.goaway != "" })
	h.settle(func() bool { return h.goaway != "" })
	return h.describe(id)
}

// settle waits until the server has answered all that it was sent, or for `enough`. The answer to a ping may leave
// before what else there is to say at that time, so it takes a second one.
func (h *conn) settle(enough func() bool) {
	for range 2 {
		h.mu.Lock()
		before := h.pongs
		h.mu.Unlock()
		h.write(func() error { return h.framer.WritePing(false, [8]byte{1}) })
		h.until(func() bool { return h.pongs > before || enough() })
	}
}

func (h *conn) describe(id uint32) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[id]
	text := strings.Join(s.parts, " | ")
	if s.body.Len() > 0 {
		text += fmt.Sprintf(" | %d bytes that are no message: %.60q", s.body.Len(), s.body.Bytes())
	}
	if !s.closed {
		text += " | open"
	}
	if h.goaway != "" {
		text += " | " + h.goaway
	}
	return text
}

// message frames a protobuf for gRPC.
func message(flag byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(body))), body...)
}

func gzipped(body []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(body)
	w.Close()
	return out.Bytes()
}
