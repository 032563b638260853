package service

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A frameClient speaks HTTP/2 frame by frame.
type frameClient struct {
	t *testing.T
	net.Conn
	*http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	goAway  *http2.GoAwayFrame // the last one seen
}

func frameDial(t *testing.T, a net.Addr, secure bool) *frameClient {
	t.Helper()
	c := dial(t, a)
	if secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	f := &frameClient{t: t, Conn: c, Framer: http2.NewFramer(c, c)}
	f.encoder = hpack.NewEncoder(&f.block)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.must(second(io.WriteString(c, http2.ClientPreface)))
	f.must(f.WriteSettings())
	return f
}

func (f *frameClient) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// request opens a stream.
func (f *frameClient) request(stream uint32, scheme string) {
	f.t.Helper()
	f.block.Reset()
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", scheme}, {":authority", "test"}, {":path", "/"}} {
		f.must(f.encoder.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}))
	}
	f.must(f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: f.block.Bytes(), EndStream: true, EndHeaders: true,
	}))
}

// until reads frames until all the streams have ended; stream 0 ends with
// GOAWAY.
func (f *frameClient) until(streams ...uint32) {
	f.t.Helper()
	ended := func(stream uint32) {
		streams = slices.DeleteFunc(streams, func(s uint32) bool { return s == stream })
	}
	for len(streams) > 0 {
		frame, err := f.ReadFrame()
		f.must(err)
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			f.goAway = frame
			ended(0)
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.must(f.WriteSettingsAck())
			}
		case *http2.RSTStreamFrame:
			f.t.Fatalf("stream %d was reset: %v", frame.StreamID, frame.ErrCode)
		case *http2.DataFrame:
			if frame.StreamEnded() {
				ended(frame.StreamID)
			}
		case *http2.MetaHeadersFrame:
			if frame.StreamEnded() {
				ended(frame.StreamID)
			}
		}
	}
}

// greeting is the key of a value that the program's ConnContext adds.
type greeting struct{}

// TestRequestThatCrossesGoAwayIsServed: GOAWAY names no last stream, so what a
// client sent before it saw it is served; then the connection is closed.
func TestRequestThatCrossesGoAwayIsServed(t *testing.T) {
	t.Parallel()
	cert := testCertificate(t)
	for _, secure := range []bool{true, false} {
		release := make(chan struct{})
		started := make(chan struct{}, 2)
		states := make(chan net.Conn, 100)
		var server *http.Server
		f := supervise(t, tcpPort("http"))
		c := f.start(Config{}, serveHTTPWith(func() *http.Server {
			srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if (r.TLS != nil) != secure || r.ProtoMajor != 2 {
					t.Errorf("TLS %v, %s; want secure %v", r.TLS != nil, r.Proto, secure)
				}
				if r.Context().Value(http.ServerContextKey) != server || r.Context().Value(greeting{}) != "hello" {
					t.Error("the request's context is not that of the program's server")
				}
				started <- struct{}{}
				<-release
			})}
			server = srv
			srv.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
				return context.WithValue(ctx, greeting{}, "hello")
			}
			srv.ConnState = func(c net.Conn, _ http.ConnState) { states <- c }
			if secure {
				srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
			} else {
				srv.Protocols = new(http.Protocols)
				srv.Protocols.SetHTTP2(true)
				srv.Protocols.SetUnencryptedHTTP2(true)
			}
			return srv
		}))
		scheme := "http"
		if secure {
			scheme = "https"
		}
		client := frameDial(t, f.addr(), secure)
		client.request(1, scheme)
		<-started
		c.beginDrain(20*time.Second, false)
		client.until(0)
		if got := client.goAway.LastStreamID; got != 1<<31-1 {
			t.Errorf("GOAWAY names stream %d as the last", got)
		}
		client.request(3, scheme) // crossed the GOAWAY
		<-started
		close(release)
		client.until(1, 3)
		if _, err := client.ReadFrame(); err == nil {
			t.Error("the connection goes on")
		}
		if m := c.drained(); m.Cut != 0 {
			t.Errorf("cut %d", m.Cut)
		}
		close(states)
		first := <-states
		for c := range states {
			if c != first {
				t.Errorf("the program's ConnState saw a %T and then a %T", first, c)
			}
		}
	}
}

// TestConnectionInItsHandshakeIsTold: it is accepted, so it is served, and told
// to go.
func TestConnectionInItsHandshakeIsTold(t *testing.T) {
	t.Parallel()
	cert := testCertificate(t)
	f := supervise(t, tcpPort("http"))
	c := f.start(Config{}, serveHTTPWith(func() *http.Server {
		return &http.Server{Handler: echoHandler(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	}))
	raw := dial(t, f.addr())
	eventually(t, "the connection is accepted", func() bool { return c.service.accepted() == 1 })
	c.beginDrain(20*time.Second, false)
	eventually(t, "the intake has stopped", c.service.https[0].draining.Load)
	client := &frameClient{t: t, Conn: tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})}
	client.Framer = http2.NewFramer(client.Conn, client.Conn)
	client.encoder = hpack.NewEncoder(&client.block)
	client.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	client.must(second(io.WriteString(client.Conn, http2.ClientPreface)))
	client.must(client.WriteSettings())
	client.request(1, "https")
	client.until(1, 0)
	c.drained()
}

// TestGoAwayIsPutBetweenFrames cuts a stream of frames at every place.
func TestGoAwayIsPutBetweenFrames(t *testing.T) {
	t.Parallel()
	var frames bytes.Buffer
	w := http2.NewFramer(&frames, nil)
	for _, err := range []error{
		w.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20}),
		w.WriteSettingsAck(),
		w.WriteData(1, false, bytes.Repeat([]byte{0, 7}, 50)),
		w.WritePing(true, [8]byte{}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	all := frames.Bytes()
	for cut := range len(all) {
		var out bytes.Buffer
		g := &goAway{}
		for i, part := range [][]byte{all[:cut], all[cut:]} {
			if n, err := g.write(&out, part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
			if i == 0 {
				g.asked.Store(true)
				g.mu.Lock()
				g.flush()
				g.mu.Unlock()
			}
		}
		kinds := frameKinds(t, &out)
		if len(kinds) != 5 || kinds[0] != http2.FrameSettings || count(kinds, http2.FrameGoAway) != 1 {
			t.Fatalf("asked after %d bytes: frames %v", cut, kinds)
		}
	}
}

func frameKinds(t *testing.T, r io.Reader) (kinds []http2.FrameType) {
	t.Helper()
	reader := http2.NewFramer(nil, r)
	for {
		frame, err := reader.ReadFrame()
		if err == io.EOF {
			return kinds
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, frame.Header().Type)
	}
}

func count[T comparable](list []T, what T) (n int) {
	for _, v := range list {
		if v == what {
			n++
		}
	}
	return n
}

func TestGoAwayLeavesHTTP1Alone(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	g := &goAway{}
	const response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	g.asked.Store(true)
	for range 2 {
		if _, err := g.write(&out, []byte(response)); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != response+response {
		t.Errorf("wrote %q", out.String())
	}
}

// TestHalfAFrameIsWaitedFor: a request whose first bytes have come is served,
// like half a request of HTTP/1.
func TestHalfAFrameIsWaitedFor(t *testing.T) {
	t.Parallel()
	cert := testCertificate(t)
	for _, secure := range []bool{true, false} {
		t.Run(map[bool]string{true: "TLS", false: "clear"}[secure], func(t *testing.T) {
			t.Parallel()
			scheme := "http"
			f := supervise(t, tcpPort("http"))
			c := f.start(Config{IdleTimeout: 50 * time.Millisecond}, serveHTTPWith(func() *http.Server {
				srv := &http.Server{Handler: echoHandler()}
				if secure {
					scheme = "https"
					srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
				} else {
					srv.Protocols = new(http.Protocols)
					srv.Protocols.SetUnencryptedHTTP2(true)
				}
				return srv
			}))
			client := frameDial(t, f.addr(), secure)
			client.request(1, scheme)
			client.until(1)
			var half bytes.Buffer
			direct := client.Framer
			client.Framer = http2.NewFramer(&half, nil)
			client.request(3, scheme)
			client.Framer = direct
			client.must(second(client.Conn.Write(half.Next(half.Len() / 2))))
			eventually(t, "half a frame is read", func() bool {
				open := c.service.endpoints[0].listener.conns.open()
				return len(open) == 1 && open[0].speaksHTTP2().partial.Load()
			})
			c.beginDrain(20*time.Second, false)
			client.until(0)
			wait(300 * time.Millisecond)
			client.must(second(client.Conn.Write(half.Bytes())))
			client.until(3)
			c.drained()
		})
	}
}

// TestHeaderBlockIsFollowedToItsEnd cuts a request, between frames too.
func TestHeaderBlockIsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	b := bytes.NewBufferString(http2.ClientPreface)
	w := http2.NewFramer(b, nil)
	whole := map[int]bool{b.Len(): true}
	end := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
		whole[b.Len()] = true
	}
	end(w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}))
	end(w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("abc"), EndHeaders: true}))
	if err := w.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte("abc")}); err != nil {
		t.Fatal(err)
	}
	end(w.WriteContinuation(3, true, []byte("def")))
	end(w.WritePing(false, [8]byte{}))
	for cut := 1; cut <= b.Len(); cut++ {
		var g tracked
		g.expectHTTP2().read(b.Bytes()[:1])
		g.goAway.Load().read(b.Bytes()[1:cut])
		if got := !g.goAway.Load().partial.Load(); got != whole[cut] {
			t.Errorf("after %d bytes: whole %v", cut, got)
		}
	}
}
