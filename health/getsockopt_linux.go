package health

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// tcpInfoSize reaches from the start of struct tcp_info to the last field
	// that is read here (include/uapi/linux/tcp.h).
	tcpInfoSize = 32
	// Offsets in struct tcp_info. For a listener tcpi_unacked is the depth of
	// its accept queue and tcpi_sacked the limit (tcp_get_info, net/ipv4/tcp.c).
	tcpiState, tcpiUnacked, tcpiSacked = 0, 24, 28
	// tcpiLastDataSent counts milliseconds since data was sent; while none was,
	// since the connection was made.
	tcpiLastDataSent = 44

	// States as in include/net/tcp_states.h. Unix sockets use them too.
	tcpClose, tcpListen = 7, 10

	// memInfoSize is that of the array that SO_MEMINFO gives, skMeminfoDrops the
	// offset of SK_MEMINFO_DROPS in it (include/uapi/linux/sock_diag.h).
	memInfoSize, skMeminfoDrops = 36, 32
)

// getsockopt is getsockopt(2) without an allocation. It returns how many bytes
// it wrote. The two options that it is used for do not block.
func getsockopt(fd, level, name int, into []byte) (int, error) {
	size := uint32(len(into))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, os.NewSyscallError("getsockopt", errno)
	}
	return int(size), nil
}

// sampleTCP fills a Sample from two options of a TCP or MPTCP socket. It works
// on a listener of any network namespace and needs no privilege.
func sampleTCP(fd int, into *Sample) error {
	var info [tcpInfoSize]byte
	if n, err := getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INFO, info[:]); err != nil {
		return err
	} else if n < tcpInfoSize {
		return unix.EMSGSIZE
	}
	var mem [memInfoSize]byte
	if n, err := getsockopt(fd, unix.SOL_SOCKET, unix.SO_MEMINFO, mem[:]); err != nil {
		return err
	} else if n < memInfoSize {
		return unix.EMSGSIZE
	}
	into.Drops = binary.NativeEndian.Uint32(mem[skMeminfoDrops:])
	if into.Listening = info[tcpiState] == tcpListen; into.Listening {
		into.Depth = binary.NativeEndian.Uint32(info[tcpiUnacked:])
		into.Limit = binary.NativeEndian.Uint32(info[tcpiSacked:])
	}
	return nil
}
