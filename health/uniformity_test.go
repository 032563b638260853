package health

import (
	"math"
	"testing"
)

func TestUniformity(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		depths []uint64
		want   float64
	}{
		{nil, 1}, {[]uint64{0, 0, 0}, 1}, {[]uint64{7}, 1}, {[]uint64{5, 5, 5, 5}, 1},
		{[]uint64{9, 0, 0, 0}, 0.25}, {[]uint64{1, 1, 0, 0}, 0.5}, {[]uint64{5, 8, 4, 7}, 0.935},
		{[]uint64{math.MaxUint64, math.MaxUint64}, 1},
	} {
		if got := Uniformity(row.depths); math.Abs(got-row.want) > 0.001 {
			t.Errorf("%v: %v, want %v", row.depths, got, row.want)
		}
	}
}
