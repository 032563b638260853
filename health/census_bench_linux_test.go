package health

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkCensus counts connections of a process that has both ends of each: it has
// twice as many descriptors as a server would. "known" is a look at which nothing is
// new, "new" one that must find out of each connection whose it is.
func BenchmarkCensus(b *testing.B) {
	for _, connections := range []int{10, 1000, 20_000} {
		for _, kind := range []string{"tcp", "unix"} {
			room(b, uint64(2*connections)+100)
			var listener int
			if kind == "tcp" {
				listener = listen(b, unix.IPPROTO_TCP, v4(1, 0), 100)
			} else {
				listener = listen(b, 0, &unix.SockaddrUnix{Name: fmt.Sprintf("@%s-%d", b.Name(), connections)}, 100)
			}
			for range connections {
				accepted(b, listener)
			}
			c := census(b, []int{listener}, os.Getpid())
			into := make([]Connections, 1)
			for what, forget := range map[string]bool{"known": false, "new": true} {
				b.Run(fmt.Sprintf("%s/connections=%d/%s", kind, connections, what), func(b *testing.B) {
					for b.Loop() {
						if forget {
							clear(c.whose)
						}
						if _, err := c.Look(b.Context(), into); err != nil || into[0].Open != connections {
							b.Fatal(into, err)
						}
					}
				})
			}
		}
	}
}
