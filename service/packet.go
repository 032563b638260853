package service

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// packets is the part that the kinds of datagram sockets share: the gate in
// front of every read, and the count.
type packets struct {
	net.PacketConn // the bare socket
	gate           gate
	received       atomic.Uint64
	done           chan struct{} // closed by close
	gone           atomic.Bool
}

// packetsOf makes a datagram socket of a descriptor, which it borrows: it holds
// a duplicate. user is what the program gets.
func packetsOf(fd int) (p *packets, user net.PacketConn, err error) {
	f, err := fileOf(fd)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	bare, err := net.FilePacketConn(f)
	if err != nil {
		return nil, nil, err
	}
	p = &packets{PacketConn: bare, done: make(chan struct{})}
	p.gate.setDeadline = bare.SetReadDeadline
	switch v := bare.(type) {
	case *net.UDPConn:
		return p, &udpConn{UDPConn: v, p: p}, nil
	case *net.UnixConn:
		return p, &unixgramConn{UnixConn: v, p: p}, nil
	}
	bare.Close()
	return nil, nil, fmt.Errorf("it is a %T", bare)
}

// read calls f when the gate is open, again if a pause interrupted it. Once the
// intake has stopped the error is net.ErrClosed although the socket is still
// open, so that answers can be sent.
func (p *packets) read(f func() error) error {
	for {
		if err := p.gate.enter(); err != nil {
			a := p.LocalAddr()
			return &net.OpError{Op: "read", Net: a.Network(), Addr: a, Err: err}
		}
		err := f()
		p.gate.leave()
		if err == nil {
			p.received.Add(1)
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || p.gate.expired() {
			return err
		}
	}
}

func (p *packets) setDeadline(t time.Time) error {
	return errors.Join(p.SetWriteDeadline(t), p.gate.setUserDeadline(t))
}

func (p *packets) close() error {
	err := p.PacketConn.Close()
	p.gate.close()
	if !p.gone.Swap(true) {
		close(p.done)
	}
	return err
}

// waiting reports whether datagrams wait to be read.
func (p *packets) waiting() bool {
	c, ok := p.PacketConn.(syscall.Conn)
	return ok && readable(c)
}

// A udpConn is a *net.UDPConn whose reads wait while the service is paused.
type udpConn struct {
	*net.UDPConn
	p *packets
}

func (c *udpConn) Close() error                      { return c.p.close() }
func (c *udpConn) SetDeadline(t time.Time) error     { return c.p.setDeadline(t) }
func (c *udpConn) SetReadDeadline(t time.Time) error { return c.p.gate.setUserDeadline(t) }
func (c *udpConn) ReadFrom(b []byte) (n int, a net.Addr, err error) {
	err = c.p.read(func() error { n, a, err = c.UDPConn.ReadFrom(b); return err })
	return n, a, err
}

func (c *udpConn) Read(b []byte) (n int, err error) {
	err = c.p.read(func() error { n, err = c.UDPConn.Read(b); return err })
	return n, err
}

func (c *udpConn) ReadFromUDP(b []byte) (n int, a *net.UDPAddr, err error) {
	err = c.p.read(func() error { n, a, err = c.UDPConn.ReadFromUDP(b); return err })
	return n, a, err
}

func (c *udpConn) ReadFromUDPAddrPort(b []byte) (n int, a netip.AddrPort, err error) {
	err = c.p.read(func() error { n, a, err = c.UDPConn.ReadFromUDPAddrPort(b); return err })
	return n, a, err
}

func (c *udpConn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, a *net.UDPAddr, err error) {
	err = c.p.read(func() error { n, oobn, flags, a, err = c.UDPConn.ReadMsgUDP(b, oob); return err })
	return n, oobn, flags, a, err
}

func (c *udpConn) ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, a netip.AddrPort, err error) {
	err = c.p.read(func() error { n, oobn, flags, a, err = c.UDPConn.ReadMsgUDPAddrPort(b, oob); return err })
	return n, oobn, flags, a, err
}

// A unixgramConn is a *net.UnixConn for datagrams whose reads wait while the
// service is paused.
type unixgramConn struct {
	*net.UnixConn
	p *packets
}

func (c *unixgramConn) Close() error                      { return c.p.close() }
func (c *unixgramConn) SetDeadline(t time.Time) error     { return c.p.setDeadline(t) }
func (c *unixgramConn) SetReadDeadline(t time.Time) error { return c.p.gate.setUserDeadline(t) }

func (c *unixgramConn) Read(b []byte) (n int, err error) {
	err = c.p.read(func() error { n, err = c.UnixConn.Read(b); return err })
	return n, err
}

func (c *unixgramConn) ReadFrom(b []byte) (n int, a net.Addr, err error) {
	err = c.p.read(func() error { n, a, err = c.UnixConn.ReadFrom(b); return err })
	return n, a, err
}

func (c *unixgramConn) ReadFromUnix(b []byte) (n int, a *net.UnixAddr, err error) {
	err = c.p.read(func() error { n, a, err = c.UnixConn.ReadFromUnix(b); return err })
	return n, a, err
}

func (c *unixgramConn) ReadMsgUnix(b, oob []byte) (n, oobn, flags int, a *net.UnixAddr, err error) {
	err = c.p.read(func() error { n, oobn, flags, a, err = c.UnixConn.ReadMsgUnix(b, oob); return err })
	return n, oobn, flags, a, err
}
