package orphan

import (
	"os/exec"
	"testing"
)

// BenchmarkLookAtAThousand looks for a marker that nobody has, among what runs
// and a thousand processes more.
func BenchmarkLookAtAThousand(b *testing.B) {
	for range 1000 {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	b.Run("marker", func(b *testing.B) {
		for b.Loop() {
			if _, err := Strays("NONE=1"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("table", func(b *testing.B) {
		for b.Loop() {
			if _, err := readTable(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("zombies", func(b *testing.B) {
		for b.Loop() {
			if _, err := zombies(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
