//go:build !linux

package service

import "syscall"

// shun does nothing: only Linux has the means.
func shun(syscall.Conn) bool { return false }

func unshun(syscall.Conn) {}
