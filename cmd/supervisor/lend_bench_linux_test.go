package main

import (
	"fmt"
	"log/slog"
	"testing"

	"example.com/supervisor/internal/listen"
	"example.com/supervisor/upgrade"
)

// BenchmarkLend is what is done about listeners before a generation gets them, while
// eight others drain that have them.
func BenchmarkLend(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var sources []source
			for i := range n {
				spec, err := listen.ParseSpec(fmt.Sprintf("l%d=tcp://127.0.0.1:0", i))
				if err != nil {
					b.Fatal(err)
				}
				socket, err := listen.Open(b.Context(), spec)
				if err != nil {
					b.Fatal(err)
				}
				sources = append(sources, source{socket: socket})
			}
			h, err := holdListeners(sources, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer h.close() //nolint:errcheck // they were open only for this
			for g := range 8 {
				h.users.add(g, false, h.first)
			}
			for b.Loop() {
				all, back, err := h.lend(9, upgrade.Release{})
				if err != nil || len(all) != n {
					b.Fatal(len(all), err)
				}
				back()
			}
		})
	}
}
