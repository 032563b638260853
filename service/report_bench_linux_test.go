package service

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
)

// BenchmarkReport is what the statistics of so many listeners cost both sides, as
// they are sent each second where nothing happens.
func BenchmarkReport(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ours, file, err := fdpass.Pair()
			if err != nil {
				b.Fatal(err)
			}
			defer ours.Close()
			fd, err := syscall.Dup(int(file.Fd())) // of a channel, no listener
			if err != nil {
				b.Fatal(err)
			}
			_ = file.Close()
			theirs, err := fdpass.NewConn(fd)
			if err != nil {
				b.Fatal(err)
			}
			defer theirs.Close()
			heard := make(chan int, 16)
			go func() { // ends with the channel
				for {
					m, _, err := theirs.Receive()
					if err != nil {
						return
					}
					heard <- len(m.(fdpass.Stats).Listeners)
				}
			}()
			var endpoints []*endpoint
			for i := range n {
				conns := newRegistry()
				conns.sojourns = true
				conns.add(&tracked{accepted: time.Now()}, 0)
				endpoints = append(endpoints, &endpoint{name: fmt.Sprint("l", i), listener: &listener{conns: conns}})
			}
			r := newReporter(endpoints, func(m fdpass.Message) {
				if err := ours.Send(m); err != nil {
					b.Error(err)
				}
			})
			b.ReportAllocs()
			for b.Loop() {
				r.all()
				for left := n; left > 0; {
					left -= <-heard
				}
			}
		})
	}
}
