package health

import (
	"math/bits"
	"testing"
	"time"
)

// lineUp makes a line of n, of which the first gone have left.
func lineUp(n int) line {
	all := make([]queued, n)
	for i := range all {
		all[n-1-i] = queued{connectionID{family: 2, sockid: [sockidSize]byte{byte(i), byte(i >> 8)}}, time.Duration(n-i) * time.Millisecond}
	}
	return lineOf(all)
}

func TestLineFindsItsHead(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 3, 7, 8, 100, lineLength, lineLength + 10} {
		l := lineUp(n)
		n = min(n, lineLength)
		for _, gone := range []int{0, 1, 2, 3, 5, 50, n - 2, n - 1, n} {
			if gone < 0 || gone > n {
				continue
			}
			asked := 0
			rest, age, ok := l.advance(func(id connectionID) (time.Duration, bool) {
				asked++
				i := int(id.sockid[0]) | int(id.sockid[1])<<8
				return time.Duration(1000-i) * time.Millisecond, i >= gone
			})
			if ok != (gone < n) || len(rest) != n-gone || ok && age != time.Duration(1000-gone)*time.Millisecond {
				t.Errorf("%d of %d left: %d remain, head %v %v", gone, n, len(rest), age, ok)
			}
			if most := 2*bits.Len(uint(gone)) + 2; asked > most {
				t.Errorf("%d of %d left: asked %d times, want at most %d", gone, n, asked, most)
			}
		}
	}
}

func TestLineWithoutOrder(t *testing.T) {
	t.Parallel()
	l := lineUp(9)
	answers := 0
	rest, _, ok := l.advance(func(connectionID) (time.Duration, bool) { // each leaves as it is asked about
		answers++
		return 0, answers == 3
	})
	if len(rest) > 9 || ok && len(rest) == 0 {
		t.Errorf("%d remain, %v", len(rest), ok)
	}
}
