//go:build !linux

package load

import "syscall"

// wholeLoopback: only 127.0.0.1 can be bound.
const wholeLoopback = false

func bindWithoutPort(_, _ string, _ syscall.RawConn) error { return nil }

func ephemeralPorts() int { return 16384 }
