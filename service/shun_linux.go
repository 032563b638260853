package service

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// shun has the kernel drop new attempts to connect (SYN without ACK) to a TCP
// listener, without a word, and reports whether it does. Handshakes that have
// begun go on. A client repeats its attempt a second later, and is then refused
// or finds the next start of the service.
//
// The filter belongs to the socket: every holder is affected until unshun. The
// kernel runs it on the TCP header (tcp_filter in net/ipv4/tcp_ipv4.c), whose
// byte 13 has the flags; accepted connections inherit it (sk_clone_lock in
// net/core/sock.c), and none of their segments is a SYN.
func shun(c syscall.Conn) (done bool) {
	const flags, syn, ack = 13, 0x02, 0x10
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: syn | ack},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: syn, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},         // drop
		{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1}, // keep all of it
	}
	_ = withFD(c, func(fd int) {
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if err != nil || protocol != unix.IPPROTO_TCP {
			return
		}
		p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
		done = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &p) == nil
	})
	return done
}

// unshun undoes shun.
func unshun(c syscall.Conn) {
	_ = withFD(c, func(fd int) {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	})
}
