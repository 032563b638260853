package health

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkCensus counts connections that processes have, several thousand each.
// "known" is a look at which nothing is new, "new" one that must find out of each
// connection whose it is.
func BenchmarkCensus(b *testing.B) {
	for _, kind := range []string{"tcp", "unix"} {
		for _, connections := range []int{10, 1000, 20_000} {
			b.Run(fmt.Sprintf("%s/connections=%d", kind, connections), func(b *testing.B) {
				var listener int
				if kind == "tcp" {
					listener = listen(b, unix.IPPROTO_TCP, v4(1, 0), 100)
				} else {
					listener = listen(b, 0, &unix.SockaddrUnix{Name: "@" + b.Name()}, 100)
				}
				servers := heldConnections(b, listener, connections)
				b.Run("known", func(b *testing.B) { benchmarkCensus(b, listener, servers, connections, false) })
				b.Run("new", func(b *testing.B) { benchmarkCensus(b, listener, servers, connections, true) })
			})
		}
	}
}

func benchmarkCensus(b *testing.B, listener int, servers []int, connections int, anew bool) {
	c := census(b, []int{listener}, servers...)
	into := make([]Connections, 1)
	tell(b, c)
	for b.Loop() {
		if anew {
			clear(c.whose)
		}
		if _, err := c.Look(b.Context(), into); err != nil || into[0].Open != connections {
			b.Fatal(into, err)
		}
	}
}

// heldConnections makes connections, of which processes of their own hold the
// servers' ends, and others the clients'.
func heldConnections(b *testing.B, listener, n int) (servers []int) {
	const most = 4000 // of one process
	room(b, 2*most+100)
	for ; n > 0; n -= most {
		var theirs, ours []int
		for range min(n, most) {
			client := dialed(b, addressOf(b, listener))
			server := -1
			eventually(b, "the connection is there", func() (there bool) {
				var err error
				server, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
				return err == nil
			})
			theirs, ours = append(theirs, client), append(ours, server)
		}
		holds(b, theirs...)
		servers = append(servers, holds(b, ours...))
		for _, fd := range append(theirs, ours...) {
			unix.Close(fd)
		}
	}
	return servers
}

// dialed returns a client's socket that the caller closes.
func dialed(b *testing.B, to unix.Sockaddr) int {
	domain := unix.AF_INET
	if _, ok := to.(*unix.SockaddrUnix); ok {
		domain = unix.AF_UNIX
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, to)
	}
	if err != nil {
		b.Fatal(err)
	}
	return fd
}
