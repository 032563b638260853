package service

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// BenchmarkSweep is one look of a service that drains at its open connections, of
// which there is one each 10 ms: of plain handlers, and of requests under way.
func BenchmarkSweep(b *testing.B) {
	for _, n := range []int{100, 20_000} {
		for _, plain := range []bool{true, false} {
			name := "http"
			if plain {
				name = "plain"
			}
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				conns := newRegistry()
				for range n {
					t := &tracked{accepted: time.Now()}
					t.state.Store(uint32(http.StateActive))
					conns.add(t, unknownSojourn)
				}
				s := &Service{endpoints: []*endpoint{{listener: &listener{conns: conns}}}}
				if !plain {
					h := &httpServer{}
					s.https, s.endpoints[0].server = []*httpServer{h}, h
				}
				began := time.Now()
				b.ReportAllocs()
				for b.Loop() {
					if open := s.sweep(began, began, began.Add(time.Hour)); open != n {
						b.Fatal(open)
					}
				}
			})
		}
	}
}
