package main

import (
	"log/slog"
	"path/filepath"
	"testing"

	"example.com/supervisor/internal/listen"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// TestBlockingIsAsTheGenerationsNeedIt hands a listener to one generation after
// the other, each as its protocol has it.
func TestBlockingIsAsTheGenerationsNeedIt(t *testing.T) {
	t.Parallel()
	sockets, err := listen.OpenAll(t.Context(), []listen.Spec{{Name: "http", Network: "unix", Address: filepath.Join(t.TempDir(), "s")}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := holdListeners([]source{{socket: sockets[0]}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	lend := func(generation int, protocol string) {
		t.Helper()
		_, back, err := h.lend(generation, upgrade.Release{Program: upgrade.Program{Protocol: protocol}})
		if err != nil {
			t.Fatal(err)
		}
		back()
	}
	waits := func(want bool, when string) {
		t.Helper()
		flags, err := unix.FcntlInt(uintptr(h.held[0].FD), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK == 0 != want {
			t.Errorf("%s: flags %#x, %v; want that accept waits: %t", when, flags, err, want)
		}
	}
	lend(1, "none")
	waits(true, "alone")
	if err := h.audit(); err != nil {
		t.Fatal(err)
	}
	waits(true, "looked at")
	if err := unix.SetNonblock(h.held[0].FD, true); err != nil { // as a program may do
		t.Fatal(err)
	}
	lend(2, "listen-fds")
	waits(false, "beside one that has set the flag itself")
	h.users.remove(1)
	h.users.remove(2)
	lend(3, "listen-fds")
	waits(true, "alone again")
	lend(4, "native")
	waits(false, "beside one that must not wait")
	lend(5, "none")
	waits(false, "whoever comes then")
	h.users.remove(4)
	h.users.remove(3)
	h.users.remove(5)
	h.adopt([]upgrade.ProcessState{{Generation: 6}})
	lend(7, "none")
	waits(false, "beside an adopted native one")
}
