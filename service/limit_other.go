//go:build !linux

package service

import "syscall"

// queueLimit is not known: only Linux tells.
func queueLimit(syscall.Conn) int { return 0 }
