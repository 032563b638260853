package service

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// queueLimit is the limit of a listener's accept queue, 0 if it cannot be seen:
// what listen(2) got, which of a TCP socket in the state LISTEN is in
// tcpi_sacked (tcp_get_info in net/ipv4/tcp.c). Unix sockets have no TCP_INFO.
func queueLimit(c syscall.Conn) (limit int) {
	_ = withFD(c, func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.State == unix.BPF_TCP_LISTEN {
			limit = int(info.Sacked)
		}
	})
	return limit
}
