package load

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A peer is a server of HTTP/2, frame by frame.
type peer struct {
	*http2.Framer
	s *faultServer
	c *net.TCPConn
}

// peers is a fault for each connection: f gets the number of the connection and
// one after which the preface has been read and the settings sent.
func peers(f func(p *peer, connection int64), settings ...http2.Setting) fault {
	var connections atomic.Int64
	return func(s *faultServer, c *net.TCPConn, r *bufio.Reader) {
		n := connections.Add(1)
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(r, preface); err != nil {
			return
		}
		p := &peer{Framer: http2.NewFramer(c, r), s: s, c: c}
		p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		p.WriteSettings(settings...)
		f(p, n)
		c.CloseWrite()
		io.Copy(io.Discard, r) // so that no reset overtakes what was said
	}
}

// request reads until a request is whole, and returns its stream; 0 for none.
func (p *peer) request() uint32 {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return 0
		}
		if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() || f.Header().Type == http2.FrameHeaders && f.Header().Flags.Has(http2.FlagHeadersEndStream) {
			p.s.requests.Add(1)
			return f.Header().StreamID
		}
	}
}

// head sends the head of an answer.
func (p *peer) head(id uint32, last bool, fields ...string) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: last, EndHeaders: true})
}

func (p *peer) ok(id uint32) {
	p.head(id, false, ":status", "200")
	p.WriteData(id, true, []byte("ok\n"))
}

// each answers every request of every connection by f.
func each(f func(p *peer, id uint32)) fault {
	return peers(func(p *peer, _ int64) {
		for id := p.request(); id != 0; id = p.request() {
			f(p, id)
		}
	})
}

// once answers one request of every connection by f, and hangs up.
func once(f func(p *peer, id uint32)) fault {
	return peers(func(p *peer, _ int64) {
		if id := p.request(); id != 0 {
			f(p, id)
		}
	})
}

// pinging answers each request when its ping is answered.
func pinging(p *peer, _ int64) {
	for f, err := p.ReadFrame(); err == nil; f, err = p.ReadFrame() {
		switch f := f.(type) {
		case *http2.DataFrame:
			if f.StreamEnded() {
				p.WritePing(false, [8]byte{byte(f.StreamID)})
			}
		case *http2.PingFrame:
			p.ok(uint32(f.Data[0]))
		}
	}
}

// TestEachHTTP2FaultIsCountedUnderItsKind lets every pattern meet every fault.
func TestEachHTTP2FaultIsCountedUnderItsKind(t *testing.T) {
	t.Parallel()
	ok := (*peer).ok
	for name, row := range map[string]struct {
		fault fault
		kind  FailureKind // empty: not a fault
		words string      // that the report's text must have
	}{
		"whole answer":   {each(ok), "", ""},
		"interim answer": {each(func(p *peer, id uint32) { p.head(id, false, ":status", "103"); p.ok(id) }), "", ""},
		"trailer": {each(func(p *peer, id uint32) {
			p.head(id, false, ":status", "200", "trailer", "x")
			p.WriteData(id, false, []byte("ok\n"))
			p.head(id, true, "x", "y")
		}), "", ""},
		"unknown frame":             {each(func(p *peer, id uint32) { p.WriteRawFrame(0x77, 0, id, []byte("?")); p.ok(id) }), "", ""},
		"ping":                      {peers(pinging), "", ""},
		"takes leave, then answers": {once(func(p *peer, id uint32) { p.WriteGoAway(id, http2.ErrCodeNo, nil); p.ok(id) }), "", ""},

		"reset": {each(func(p *peer, id uint32) { p.WriteRSTStream(id, http2.ErrCodeInternal) }), Reset, "INTERNAL_ERROR (after 0 bytes"},
		"reset in the body": {each(func(p *peer, id uint32) {
			p.head(id, false, ":status", "200")
			p.WriteRSTStream(id, http2.ErrCodeCancel)
		}), Reset, "CANCEL"},
		"refused": {each(func(p *peer, id uint32) { p.WriteRSTStream(id, http2.ErrCodeRefusedStream) }), Refused, "did not process"},
		"refused too late": {each(func(p *peer, id uint32) {
			p.head(id, false, ":status", "200")
			p.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		}), Reset, "REFUSED"},
		"leaves all":         {once(func(p *peer, _ uint32) { p.WriteGoAway(0, http2.ErrCodeNo, nil) }), Refused, "GOAWAY"},
		"leaves and is gone": {once(func(p *peer, id uint32) { p.WriteGoAway(id, http2.ErrCodeInternal, nil) }), EOF, "GOAWAY with INTERNAL_ERROR"},
		"closed":             {once(func(p *peer, id uint32) {}), EOF, "0 bytes of the answer to request"},
		"closed in the body": {once(func(p *peer, id uint32) { p.head(id, false, ":status", "200"); p.WriteData(id, false, []byte("ok")) }), EOF, "bytes of the answer"},
		"connection reset":   {once(func(p *peer, id uint32) { p.c.SetLinger(0); p.c.Close() }), Reset, "reset"},
		"never answered":     {each(func(p *peer, _ uint32) { <-p.s.done }), Timeout, "timeout"},
		"half answered":      {each(func(p *peer, id uint32) { p.head(id, false, ":status", "200"); <-p.s.done }), Timeout, "timeout"},
		"no window":          {peers(func(p *peer, _ int64) { <-p.s.done }, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3}), Timeout, "timeout"},
		"no room": {peers(func(p *peer, _ int64) {
			p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams})
			p.request()
			<-p.s.done
		}), Timeout, "timeout"},
		"other status": {each(func(p *peer, id uint32) { p.head(id, false, ":status", "503"); p.WriteData(id, true, []byte("sorry")) }), Status, "503 Service Unavailable, want 200: sorry"},
		"other body":   {each(func(p *peer, id uint32) { p.head(id, false, ":status", "200"); p.WriteData(id, true, []byte("no\n")) }), Body, `"no\n"`},
		"no body":      {each(func(p *peer, id uint32) { p.head(id, true, ":status", "200") }), Body, "0 bytes"},
		"shorter than said": {each(func(p *peer, id uint32) {
			p.head(id, false, ":status", "200", "content-length", "9")
			p.WriteData(id, true, []byte("ok\n"))
		}), EOF, "3 bytes of 9"},
		"no status":           {each(func(p *peer, id uint32) { p.head(id, true, "x", "y") }), Other, "malformed"},
		"data before head":    {each(func(p *peer, id uint32) { p.WriteData(id, true, []byte("ok\n")) }), Other, "no head"},
		"two heads":           {each(func(p *peer, id uint32) { p.head(id, false, ":status", "200"); p.head(id, false, "x", "y") }), Other, "second head"},
		"capitals in a field": {each(func(p *peer, id uint32) { p.head(id, true, ":status", "200", "X", "y") }), Other, "PROTOCOL_ERROR"},
		"pushes": {once(func(p *peer, id uint32) {
			p.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, EndHeaders: true})
		}), Other, "pushes"},
		"another stream": {once(func(p *peer, id uint32) { p.WriteData(id+1000, true, nil) }), Other, "nobody opened"},
	} {
		for _, pattern := range []Pattern{NewConnection, KeepAlive, InFlight} {
			t.Run(name+"/"+string(pattern), func(t *testing.T) {
				t.Parallel()
				s := newFaultServer(t, row.fault)
				r := run(t, Config{Target: s.url, Duration: 70 * time.Millisecond, Timeout: timeoutFor(row.kind), Traffic: []Traffic{
					{Pattern: pattern, HTTP2: true, Rate: 30, Clients: 2, PayloadBytes: 20, Body: "ok\n"},
				}})
				l := r.Traffic[0]
				if n := s.requests.Load(); n > int64(l.Requests+l.Resent) {
					t.Errorf("%d requests arrived of %d, %d resent: one was sent again and not counted", n, l.Requests, l.Resent)
				}
				checkFailed(t, r, row.kind, row.words)
				// Requests that share a connection share what befalls it.
				if row.kind != "" && pattern != KeepAlive && (row.kind == Refused) != (l.Resent == uint64(mostAttempts-1)*l.Requests) {
					t.Errorf("%d resent of %d requests", l.Resent, l.Requests)
				}
			})
		}
	}
}

// TestServerThatDoesNotTakeTheBody is told of, and the connection stays.
func TestServerThatDoesNotTakeTheBody(t *testing.T) {
	t.Parallel()
	s := newFaultServer(t, peers(func(p *peer, _ int64) { <-p.s.done }))
	r := run(t, Config{Target: s.url, Duration: 50 * time.Millisecond, Timeout: 100 * time.Millisecond, Traffic: []Traffic{
		{Pattern: KeepAlive, HTTP2: true, Rate: 40, Clients: 1, PayloadBytes: firstWindow + 1},
	}})
	l := r.Traffic[0]
	if l.Failed != 2 || r.FailedByKind[Timeout] != 2 || l.Connections != 1 || !strings.Contains(l.Failures[0].First[0].Error, "did not take") {
		t.Errorf("%+v", l)
	}
}

// TestWhatWasNotProcessedIsSentAgainAndCounted: the first connection answers its
// first request after it said that it did not look at those behind it.
func TestWhatWasNotProcessedIsSentAgainAndCounted(t *testing.T) {
	t.Parallel()
	s := newFaultServer(t, peers(func(p *peer, n int64) {
		if n > 1 {
			for id := p.request(); id != 0; id = p.request() {
				p.ok(id)
			}
			return
		}
		first := p.request()
		p.request()
		third := p.request()
		p.WriteRSTStream(third, http2.ErrCodeRefusedStream) // untouched as well
		p.WriteGoAway(first, http2.ErrCodeNo, nil)
		p.ok(first)
	}))
	r := run(t, Config{Target: s.url, Duration: 100 * time.Millisecond, Traffic: []Traffic{
		{Pattern: KeepAlive, HTTP2: true, Rate: 100, Clients: 1, PayloadBytes: 20, Body: "ok\n"},
	}})
	l := r.Traffic[0]
	if l.Failed > 0 || l.OK != 10 || l.Resent < 2 || r.Resent != l.Resent || l.Connections != 2 {
		t.Errorf("%+v", l)
	}
	if n := s.requests.Load(); n < 12 || n > int64(l.Requests+l.Resent) {
		t.Errorf("%d requests arrived, %d were due and %d resent", n, l.Requests, l.Resent)
	}
}

// FuzzHTTP2Frames: whatever a server sends, a request ends, and the connection
// can be closed.
func FuzzHTTP2Frames(f *testing.F) {
	var good bytes.Buffer
	p := &peer{Framer: http2.NewFramer(&good, nil)}
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	f.Add(append([]byte{}, good.Bytes()...))
	p.WriteWindowUpdate(1, 10)
	p.WriteWindowUpdate(0, 10)
	p.ok(1)
	f.Add(append([]byte{}, good.Bytes()...))
	p.WriteGoAway(1, http2.ErrCodeNo, []byte("bye"))
	p.WriteRSTStream(1, http2.ErrCodeRefusedStream)
	f.Add(append([]byte{}, good.Bytes()...))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		var server sync.WaitGroup
		server.Go(func() { io.Copy(io.Discard, theirs) })
		server.Go(func() {
			theirs.Write(said)
			theirs.Close()
		})
		m := newMultiplex(ours, 5*time.Second)
		m.owner = &dialer{}
		if m.greet() == nil {
			m.reading.Go(m.read)
			s := newScript(Traffic{Pattern: KeepAlive, HTTP2: true, Method: "POST", Path: "/", PayloadBytes: 40, Status: 200, Echo: true}, target{}, "")
			start := time.Now()
			_, err := m.exchange(s, 1, time.Now().Add(5*time.Second), 0)
			if time.Since(start) > 4*time.Second {
				t.Errorf("it took until the deadline: %v", err)
			}
		}
		m.close()
		server.Wait()
	})
}
