package service

import (
	"net"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastDataSent is the place of tcpi_last_data_sent in struct tcp_info, counted
// in fields of 32 bits (include/uapi/linux/tcp.h: offset 44).
const lastDataSent = 11

// A sojournReader asks the kernel how long connections that were just accepted
// had waited. It may be used concurrently.
//
// The kernel stamps "data last sent" when the handshake makes the connection
// (tcp_create_openreq_child in net/ipv4/tcp_minisocks.c), and until the server
// writes, tcpi_last_data_sent is the time since then, in steps of a jiffy. "Data
// last received" would move with what the client sends while it waits.
type sojournReader struct {
	calls sync.Pool // of *tcpInfoCall
}

// newSojournReader returns nil if connections of the listener have no such time:
// they are not TCP. (MPTCP ones answer for their first subflow.)
func newSojournReader(l streamListener) *sojournReader {
	if _, ok := l.(*net.TCPListener); !ok {
		return nil
	}
	return &sojournReader{calls: sync.Pool{New: func() any { return newTCPInfoCall() }}}
}

// read returns how long c had waited. It costs one system call that does not
// block; ok is false if the kernel does not tell.
func (r *sojournReader) read(c *net.TCPConn) (waited time.Duration, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	call := r.calls.Get().(*tcpInfoCall)
	defer r.calls.Put(call)
	if raw.Control(call.get) != nil || call.length <= lastDataSent*4 {
		return 0, false
	}
	return time.Duration(call.info[lastDataSent]) * time.Millisecond, true
}

// A tcpInfoCall is room for one getsockopt(TCP_INFO), and the call itself, made
// once so that reading allocates nothing for it.
type tcpInfoCall struct {
	info   [lastDataSent + 1]uint32
	length uint32 // what the kernel gave, in bytes; 0 after an error
	get    func(fd uintptr)
}

func newTCPInfoCall() *tcpInfoCall {
	c := new(tcpInfoCall)
	c.get = func(fd uintptr) {
		c.length = uint32(unsafe.Sizeof(c.info))
		// RawSyscall: nobody else uses the connection yet, so the kernel need
		// not wait for it.
		_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
			uintptr(unsafe.Pointer(&c.info)), uintptr(unsafe.Pointer(&c.length)), 0)
		if errno != 0 {
			c.length = 0
		}
	}
	return c
}
