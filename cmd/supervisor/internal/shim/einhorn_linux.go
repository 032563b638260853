package shim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxCommand is more than a command has.
	maxCommand = 16 << 10
	// commandTimeout bounds how long one may take.
	commandTimeout = 10 * time.Second
)

// listenForAcks makes the socket on which the program says that it is ready, as
// under einhorn.
func (s *shim) listenForAcks(p *program) error {
	if s.cfg.Socket == "" {
		return nil
	}
	_ = os.Remove(s.cfg.Socket)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: s.cfg.Socket})
	if err != nil {
		return fmt.Errorf("cannot listen to the program: %w", err)
	}
	p.hold(l.Close) // which removes the file
	if err := os.Chmod(s.cfg.Socket, 0o600); err != nil {
		return err
	}
	go s.readAcks(l) // it ends when l is closed
	return nil
}

func (s *shim) readAcks(l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("cannot listen to the program", "error", err)
			<-time.After(time.Second) // for want of descriptors, most likely
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(commandTimeout))
		line, _ := bufio.NewReader(io.LimitReader(conn, maxCommand)).ReadString('\n')
		if s.isOurs(peerOf(conn)) && isAck(line) {
			s.tellSelf(word{ready: true})
		} else {
			s.log.Warn("a command that is none of this generation, or not understood", "command", strings.TrimSpace(line))
		}
		_ = conn.Close()
	}
}

// isAck tells the command by which a program says that it is ready. Clients write
// it as JSON or as YAML, escaped as in a URL or not.
func isAck(line string) bool {
	text, err := url.QueryUnescape(line)
	if err != nil {
		text = line
	}
	return strings.Contains(text, "worker:ack")
}

// peerOf is who has connected; 0 if that is not known.
func peerOf(conn *net.UnixConn) (pid int) {
	_ = withFD(conn, func(fd int) error {
		ucred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			pid = int(ucred.Pid)
		}
		return err
	})
	return pid
}
