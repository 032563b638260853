package service

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestStatsTickerRestsInALull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLull()
		ticker := newStatsTicker(50, l)
		defer ticker.stop()
		wait := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			<-ticker.c
			if took := time.Since(began); took != want {
				t.Fatalf("ticked after %v, want %v", took, want)
			}
		}
		wait(50 * time.Millisecond)
		for range lullAfter {
			if ticker.idle < lullAfter-1 {
				l.stir() // there is none yet
			}
			ticker.heard(false)
			if ticker.idle < lullAfter {
				wait(50 * time.Millisecond)
			}
		}
		wait(time.Second)
		ticker.heard(false)
		wait(time.Second)
		l.stir()
		l.stir()
		<-l.ended
		ticker.wake()
		wait(50 * time.Millisecond)
		ticker.heard(true)
		if len(l.ended) != 0 {
			t.Error("the end of the lull was said twice")
		}
	})
}

func TestNoLullIsStirred(t *testing.T) {
	t.Parallel()
	var l *lull
	l.stir()
}
