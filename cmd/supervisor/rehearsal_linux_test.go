package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/handover"
	"golang.org/x/sys/unix"
)

// TestNothingIsLeftOfABinaryThatWasTriedOut: it fails, and has started another
// program that goes on.
func TestNothingIsLeftOfABinaryThatWasTriedOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pidFile, path := filepath.Join(dir, "pid"), filepath.Join(dir, "bad")
	script := fmt.Sprintf("#!/bin/sh\nsleep 60 >/dev/null 2>&1 &\necho $! > %s\nexit 1\n", pidFile)
	syscall.ForkLock.RLock() // or a child that is being started would hold it open: ETXTBSY
	err := os.WriteFile(path, []byte(script), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := handover.Memfd(handover.State{})
	if err != nil {
		t.Fatal(err)
	}
	state := os.NewFile(uintptr(fd), "state")
	defer state.Close()
	if err := (rehearsal{path: path, state: state, env: os.Environ(), limit: patience}).play(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Fatalf("got %v", err)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(patience); ; { // who reaps it takes a moment
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(late) {
			_ = unix.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d is left", pid)
		}
		_, _ = unix.Poll(nil, 5)
	}
}
