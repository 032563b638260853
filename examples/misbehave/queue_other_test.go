//go:build !linux

package main

// wantQueued cannot be seen here.
func (v *victim) wantQueued(_, _ uint32) {}
