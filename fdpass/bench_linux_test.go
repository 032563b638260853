package fdpass

import (
	"fmt"
	"testing"
)

// BenchmarkHandoff is a whole handoff: Offer and Accept, both ends verified.
func BenchmarkHandoff(b *testing.B) {
	for _, n := range []int{1, 16, 253, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			supervisor, child := conns(b)
			ls := listeners(b, n)
			done := make(chan error, 1)
			for b.Loop() {
				go func() {
					_, err := Offer(supervisor, welcome(), -1, ls)
					done <- err
				}()
				_, got, _, err := Accept(child, Hello{})
				if err != nil {
					b.Fatal(err)
				}
				if err := <-done; err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				closeListeners(got)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/listener")
		})
	}
}

// BenchmarkSendReceive is one message through the channel.
func BenchmarkSendReceive(b *testing.B) {
	for _, m := range []Message{Pause{ID: 1}, Stats{Listeners: []ListenerStats{{Name: "http", Accepted: 1 << 40, Active: 12, OldestMS: 100, Durations: make([]uint64, 20)}}}} {
		b.Run(m.kind(), func(b *testing.B) {
			supervisor, child := conns(b)
			b.ReportAllocs()
			for b.Loop() {
				if err := supervisor.Send(m); err != nil {
					b.Fatal(err)
				}
				if _, _, err := child.Receive(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
