//go:build !linux

package service

import (
	"net"
	"time"
)

// A sojournReader is for Linux only.
type sojournReader struct{}

func newSojournReader(streamListener) *sojournReader { return nil }

func (*sojournReader) read(*net.TCPConn) (time.Duration, bool) { return 0, false }
