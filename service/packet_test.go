package service

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answerPackets echoes datagrams until the intake stops, then says so and
// closes the socket.
func answerPackets(t *testing.T, s *Service, name string) <-chan error {
	t.Helper()
	p, err := s.PacketConn(name)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		defer p.Close()
		b := make([]byte, 1500)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				ended <- err
				return
			}
			_, _ = p.WriteTo(b[:n], from)
		}
	}()
	return ended
}

func TestPausedSocketKeepsDatagrams(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			spec := "dns=udp://127.0.0.1:0"
			if network == "unixgram" {
				spec = "dns=unixgram://" + filepath.Join(dir, "server")
			}
			f := supervise(t, spec)
			c := f.join(Config{})
			ended := answerPackets(t, c.service, "dns")
			c.run()
			expectReady(c)
			client := packetClient(t, network, f.sockets[0].Addr, dir)
			ask := func(text string) {
				if _, err := client.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			answer := func(want string) {
				b := make([]byte, 100)
				n, err := client.Read(b)
				if err != nil || string(b[:n]) != want {
					t.Fatalf("answer %q, %v; want %q", b[:n], err, want)
				}
			}
			ask("one")
			answer("one")
			if m := c.pause(); m.Accepted != 1 {
				t.Errorf("paused after %d datagrams", m.Accepted)
			}
			ask("two")
			if m := c.pause(); m.Accepted != 1 {
				t.Errorf("read %d datagrams while paused", m.Accepted-1)
			}
			c.resume()
			answer("two")
			c.pause()
			ask("three")
			c.beginDrain(10*time.Second, true) // nobody else reads: it must
			answer("three")
			c.drained()
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("the reader ended with %v", err)
			}
		})
	}
}

func packetClient(t *testing.T, network, server, dir string) net.Conn {
	t.Helper()
	var client net.Conn
	var err error
	if network == "unixgram" {
		client, err = net.DialUnix(network, &net.UnixAddr{Net: network, Name: filepath.Join(dir, "client")},
			&net.UnixAddr{Net: network, Name: server})
	} else {
		client, err = net.Dial(network, server)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return client
}

// TestDrainWaitsForTheLastAnswer: after the intake has stopped, a datagram
// socket can still be written to.
func TestDrainWaitsForTheLastAnswer(t *testing.T) {
	t.Parallel()
	f := supervise(t, "dns=udp://127.0.0.1:0")
	c := f.join(Config{})
	p, err := c.service.PacketConn("dns")
	if err != nil {
		t.Fatal(err)
	}
	c.run()
	expectReady(c)
	client := packetClient(t, "udp", f.sockets[0].Addr, "")
	if _, err := client.Write([]byte("slow")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	n, from, err := p.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	c.beginDrain(10*time.Second, false)
	if _, _, err := p.ReadFrom(b); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("a read after the intake has stopped: %v", err)
	}
	if _, err := p.WriteTo(b[:n], from); err != nil {
		t.Errorf("the answer could not be written: %v", err)
	}
	if _, err := client.Read(b); err != nil {
		t.Error(err)
	}
	p.Close()
	c.drained()
}

// TestEveryReadOfUDPWaitsAtTheGate tries each method that reads: one that is
// promoted from *net.UDPConn would read while paused.
func TestEveryReadOfUDPWaitsAtTheGate(t *testing.T) {
	t.Parallel()
	f := supervise(t, "dns=udp://127.0.0.1:0")
	c := f.join(Config{})
	p, err := c.service.PacketConn("dns")
	if err != nil {
		t.Fatal(err)
	}
	c.run()
	expectReady(c)
	client := packetClient(t, "udp", f.sockets[0].Addr, "")
	u := p.(interface {
		net.Conn
		ReadFromUDP([]byte) (int, *net.UDPAddr, error)
		ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error)
		ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error)
		ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)
	})
	b := make([]byte, 10)
	for name, read := range map[string]func() error{
		"Read":                func() error { _, err := u.Read(b); return err },
		"ReadFrom":            func() error { _, _, err := p.ReadFrom(b); return err },
		"ReadFromUDP":         func() error { _, _, err := u.ReadFromUDP(b); return err },
		"ReadFromUDPAddrPort": func() error { _, _, err := u.ReadFromUDPAddrPort(b); return err },
		"ReadMsgUDP":          func() error { _, _, _, _, err := u.ReadMsgUDP(b, nil); return err },
		"ReadMsgUDPAddrPort":  func() error { _, _, _, _, err := u.ReadMsgUDPAddrPort(b, nil); return err },
	} {
		c.pause()
		if _, err := client.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
		if err := p.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) < 20*time.Millisecond {
			t.Errorf("%s while paused: %v after %v", name, err, time.Since(start))
		}
		if err := p.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		c.resume()
		if err := read(); err != nil || !strings.HasPrefix(name, string(b[:4])) {
			t.Errorf("%s after resume: %v %q", name, err, b)
		}
	}
}
