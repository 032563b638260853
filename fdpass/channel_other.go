//go:build !linux

package fdpass

import (
	"errors"
	"net"
)

func controlSize() int { return 0 }

func socketpair() (ours, theirs int, err error) { return -1, -1, errors.ErrUnsupported }

func checkChannel(int) error { return errors.ErrUnsupported }

func openSocket(int) (*net.UnixConn, error) { return nil, errors.ErrUnsupported }

func (c *Conn) writePacket([]byte, []int) error { return errors.ErrUnsupported }

func (c *Conn) readPacket() (packet, error) { return packet{}, errors.ErrUnsupported }

func (c *Conn) credentials() (pid, uid int, err error) { return 0, 0, errors.ErrUnsupported }

func descriptorsLost(int) error { return ErrDescriptorsLost }

func closeFDs([]int) {}

func describe(Listener) (Listener, error) { return Listener{}, errors.ErrUnsupported }

func (l Listener) verify() (Cookie, error) { return 0, errors.ErrUnsupported }

func (l Listener) restore() error { return errors.ErrUnsupported }

func (c *Conn) hungUp() bool { return true }

func (c *Conn) duplicate() (int, error) { return -1, errors.ErrUnsupported }

// A socketFile tells a file from another that takes its place.
type socketFile struct{}

func listenSocket(string) (int, socketFile, error) { return -1, socketFile{}, errors.ErrUnsupported }

func identify(string) (socketFile, error) { return socketFile{}, errors.ErrUnsupported }

func (c *Conn) pidfd(int) int { return -1 }
