package config

import (
	"fmt"
	"testing"

	"example.com/supervisor/internal/listen"
)

// BenchmarkCompareListen is what an upgrade does about listeners that stay as they
// are.
func BenchmarkCompareListen(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var texts []string
			for i := range n {
				texts = append(texts, fmt.Sprintf("l%d=tcp://127.0.0.1:%d", i, 1000+i))
			}
			specs, err := listen.ParseSpecs(texts)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if change, err := CompareListen(specs, texts, specs); err != nil || len(change.Wanted) != n {
					b.Fatal(change, err)
				}
			}
		})
	}
}
