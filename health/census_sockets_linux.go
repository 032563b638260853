package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// The states of a connection that somebody may have open, include/net/tcp_states.h:
// ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK and CLOSING. After close(2)
// it may be in them too, and then has no inode.
const stateOpen = stateEstablished | 1<<4 | 1<<5 | stateCloseWait | 1<<9 | 1<<11

// findTCP asks for the listeners and the connections at their ports, listeners
// first, as the kernel tells of them.
func (c *Census) findTCP(ctx context.Context) error {
	clear(c.at)
	var ports []uint16
	for i := range c.listeners {
		l := &c.listeners[i]
		if l.datagram || l.err != nil || l.kind == unixQueue {
			continue
		}
		l.seen = false
		port, err := l.port()
		if err != nil {
			return err
		}
		ports = append(ports, port)
	}
	if len(ports) == 0 {
		return nil
	}
	var r inetRow
	return c.diag.ask(inetDump(stateListen|stateOpen, 0, portFilter(ports)), func(b []byte) error {
		if len(b) >= inetMessage && binary.NativeEndian.Uint32(b[68:]) == 0 { // nobody has it, or not yet
			return nil
		}
		if err := r.parse(b); err != nil {
			return err
		}
		return c.takeTCP(ctx, &r)
	})
}

func (c *Census) takeTCP(ctx context.Context, r *inetRow) error {
	if r.state == tcpListen {
		if i, ok := c.listener[r.inode]; ok {
			c.listeners[i].seen = true
			if first, taken := c.at[r.place]; !taken || i < first {
				c.at[r.place] = i
			}
		}
		return nil
	}
	for _, p := range r.covering() {
		if i, ok := c.at[p]; ok {
			return c.take(ctx, r.inode, i)
		}
	}
	return nil
}

// findUnix asks for all Unix sockets: the kernel has no filter by name. What was
// accepted has the name of the listener.
func (c *Census) findUnix(ctx context.Context) error {
	clear(c.names)
	wanted := false
	for i := range c.listeners {
		if l := &c.listeners[i]; !l.datagram && l.err == nil && l.kind == unixQueue {
			l.seen, wanted = false, true
		}
	}
	if !wanted {
		return nil
	}
	listening := unixRequestFor(0, stateListen, unixShowName)
	if err := c.diag.unixRows(listening, func(r *unixRow) {
		if i, ok := c.listener[r.inode]; ok {
			c.listeners[i].seen = true
			c.names[r.place()] = i
		}
	}); err != nil {
		return err
	}
	return c.diag.ask(unixRequestFor(0, stateEstablished, unixShowName), func(b []byte) error {
		if len(b) >= unixMessage && binary.NativeEndian.Uint32(b[4:]) == 0 {
			return nil // it waits to be accepted
		}
		r, err := parseUnixRow(b)
		if err != nil {
			return err
		}
		if i, ok := c.names[r.place()]; ok && r.name != "" {
			return c.take(ctx, r.inode, i)
		}
		return nil
	})
}

// A unixPlace is where a Unix socket is bound: abstract names are of a type.
type unixPlace struct {
	typ  uint8
	name string
}

func (r *unixRow) place() unixPlace { return unixPlace{r.typ, r.name} }

func (c *Census) take(ctx context.Context, inode uint32, listener int) error {
	c.found[inode] = listener
	switch {
	case len(c.found) > censusConnections:
		return errCensusLimit
	case len(c.found)%1024 == 0:
		return context.Cause(ctx)
	}
	return nil
}

// fdReader reads which sockets processes have open (proc_pid_fd(5)).
type fdReader struct {
	left int // how many descriptors may yet be looked at
	dir  [16 << 10]byte
	link [64]byte
}

// sockets gives the inode of each socket that a process has open to found. One that
// has ended has none.
func (r *fdReader) sockets(ctx context.Context, pid int, found func(inode uint32)) error {
	dir, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if isNoProcess(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for {
		n, err := unix.Getdents(dir, r.dir[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case n == 0, isNoProcess(err):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if err := r.entries(dir, r.dir[:n], found); err != nil {
			return err
		}
	}
}

// entries reads what getdents64(2) has told of a folder of descriptors.
func (r *fdReader) entries(dir int, all []byte, found func(inode uint32)) error {
	const header = 19 // struct linux_dirent64 before d_name
	for len(all) > header {
		size := int(binary.NativeEndian.Uint16(all[16:]))
		if size <= header || size > len(all) {
			return errShortRow
		}
		name := all[header:size]
		all = all[size:]
		if name[0] == '.' {
			continue
		}
		if r.left--; r.left < 0 {
			return errCensusLimit
		}
		n, err := unix.Readlinkat(dir, unix.ByteSliceToString(name), r.link[:])
		if err != nil && !isNoProcess(err) {
			return err
		}
		if inode, ok := socketInode(r.link[:max(n, 0)]); ok {
			found(inode)
		}
	}
	return nil
}

// socketInode reads what the link of a descriptor says: "socket:[4711]". Inodes of
// sockets have 32 bits.
func socketInode(link []byte) (inode uint32, ok bool) {
	number, ok := bytes.CutPrefix(link, []byte("socket:["))
	if !ok {
		return 0, false
	}
	number, ok = bytes.CutSuffix(number, []byte("]"))
	n, err := strconv.ParseUint(string(number), 10, 32)
	return uint32(n), ok && err == nil
}

// isNoProcess reports whether an error of /proc means that the process, or its
// descriptor, is not there any more.
func isNoProcess(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}
