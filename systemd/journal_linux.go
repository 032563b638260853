package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// journalSocket takes entries in the native protocol. A service with
	// LogNamespace= sees the socket of its own there.
	journalSocket = "/run/systemd/journal/socket"
	// journalWait is how long an entry waits for room in the journal's queue,
	// and journalStuckWait how long once one has waited in vain.
	journalWait      = time.Second
	journalStuckWait = time.Millisecond
)

// journalSink writes entries to a journal.
type journalSink struct {
	address string
	stuck   atomic.Bool
}

// probe reports whether there is a journal.
func (s *journalSink) probe() error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.address, Net: "unixgram"})
	if err != nil {
		return err
	}
	return conn.Close()
}

// write writes one entry. One that is too large for a datagram goes as a file.
func (s *journalSink) write(entry []byte) error {
	limit := journalWait
	if s.stuck.Load() {
		limit = journalStuckWait
	}
	err := sendDatagram(s.address, entry, limit)
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS) {
		err = s.writeFile(entry, limit)
	}
	s.stuck.Store(isStuck(err))
	if err != nil {
		return fmt.Errorf("cannot write to the journal: %w", err)
	}
	return nil
}

// writeFile sends a sealed file in memory, which the journal takes from anybody,
// wherever the service may not write files.
func (s *journalSink) writeFile(entry []byte, limit time.Duration) error {
	fd, err := unix.MemfdCreate("journal-entry", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "journal-entry")
	defer f.Close()
	if _, err := f.Write(entry); err != nil {
		return err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	return sendDatagram(s.address, nil, limit, fd)
}
