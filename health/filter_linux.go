package health

import (
	"encoding/binary"
	"slices"
)

// The kernel runs a small program on each socket before it tells of it (struct
// inet_diag_bc_op). An operation is four bytes: what to compare, and how many
// bytes to go on by if that is so (one byte) or is not so (two). A comparison
// with a port is followed by four bytes that hold the port. Whoever arrives
// exactly at the end is in; whoever jumps four bytes further is out.
const (
	opJump        = 1  // INET_DIAG_BC_JMP: by the second distance
	opPortAtLeast = 2  // INET_DIAG_BC_S_GE
	opPortAtMost  = 3  // INET_DIAG_BC_S_LE
	opPortIs      = 11 // INET_DIAG_BC_S_EQ, since Linux 4.16

	// maxFilterPorts is how many ports are compared one by one. With more, a
	// range takes less time than it costs to tell of some sockets in vain.
	maxFilterPorts = 64
)

// portFilter returns a program that lets through the sockets with one of these
// local ports and, if there are many ports, some others.
func portFilter(ports []uint16) []byte {
	ports = slices.Compact(slices.Sorted(slices.Values(ports)))
	if len(ports) == 0 {
		return nil
	}
	var code []byte
	if len(ports) > maxFilterPorts {
		code = appendOp(code, opPortAtLeast, 8, 16+4)
		code = appendOp(code, 0, 0, ports[0])
		code = appendOp(code, opPortAtMost, 8, 8+4)
		return appendOp(code, 0, 0, ports[len(ports)-1])
	}
	for i, port := range ports {
		last := i == len(ports)-1
		code = appendOp(code, opPortIs, 8, 12) // to the next comparison, or out
		code = appendOp(code, 0, 0, port)
		if !last {
			// What follows: a jump here and 12 bytes for each port, but 8 for
			// the last.
			code = appendOp(code, opJump, 4, uint16(12*(len(ports)-1-i)))
		}
	}
	return code
}

func appendOp(code []byte, op, yes uint8, no uint16) []byte {
	return binary.NativeEndian.AppendUint16(append(code, op, yes), no)
}
