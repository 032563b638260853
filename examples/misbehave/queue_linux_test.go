package main

import "golang.org/x/sys/unix"

// wantQueued says how many connections wait in the accept queue, dead ones
// included: tcpi_unacked of a listening socket.
func (v *victim) wantQueued(least, most uint32) {
	v.t.Helper()
	info, err := unix.GetsockoptTCPInfo(descriptor(v.t, v.listener), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		v.t.Fatal(err)
	}
	if info.Unacked < least || info.Unacked > most {
		v.t.Errorf("%d connections wait, want %d to %d", info.Unacked, least, most)
	}
}
