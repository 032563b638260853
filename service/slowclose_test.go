package service

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// fill writes to c behind TLS until nothing more fits: it stands for a response
// that fills the buffers of a client that does not read.
func fill(c *net.TCPConn) {
	b := make([]byte, 1<<16)
	for n := len(b); n > 0; {
		_ = c.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
		if _, err := c.Write(b[:n]); err != nil {
			n /= 2
		}
	}
	_ = c.SetWriteDeadline(time.Time{})
}

// TestClientsThatDoNotReadDoNotHoldTheDrainUp: crypto/tls has five seconds to
// tell each of them that its connection ends.
func TestClientsThatDoNotReadDoNotHoldTheDrainUp(t *testing.T) {
	t.Parallel()
	cert := testCertificate(t)
	var filled atomic.Int32
	f := supervise(t, tcpPort("http"))
	c := f.start(Config{IdleTimeout: 100 * time.Millisecond}, serveHTTPWith(func() *http.Server {
		return &http.Server{
			Handler:   echoHandler(),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}},
			ConnState: func(c net.Conn, state http.ConnState) {
				if state == http.StateIdle {
					fill(trackedOf(c).conn.(*tcpConn).TCPConn)
					filled.Add(1)
				}
			},
		}
	}))
	const clients = 4
	for range clients {
		conn := tls.Client(dial(t, f.addr()), anyCertificate())
		if _, err := conn.Write([]byte(getOK)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the clients' buffers are full", func() bool { return filled.Load() == clients })
	const deadline = time.Second
	start := time.Now()
	c.beginDrain(deadline, false)
	m := c.drained()
	if took := time.Since(start); took > deadline+2*time.Second {
		t.Errorf("a drain of %v took %v", deadline, took)
	}
	if m.Cut != 0 {
		t.Errorf("%d connections that were being closed count as cut", m.Cut)
	}
}
