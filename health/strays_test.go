package health

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestStraysAreNoDrops(t *testing.T) {
	t.Parallel()
	const unreadable = 1 << 40
	type look struct {
		at       time.Duration
		counters []uint32 // of two listeners; the second is of another namespace
		dropped  uint64   // in the namespace
		want     []uint32
	}
	const s = time.Second
	for name, looks := range map[string][]look{
		"a scan": {
			{0, []uint32{7, 0}, 3, []uint32{7, 0}},
			{s / 10, []uint32{17, 0}, 3, []uint32{7, 0}},
			{s / 5, []uint32{18, 0}, 3, []uint32{7, 0}},
		},
		"losses": {
			{0, []uint32{7, 0}, 3, []uint32{7, 0}},
			{s / 10, []uint32{9, 0}, 4, []uint32{9, 0}},
			{s / 5, []uint32{9, 0}, 4, []uint32{9, 0}},
			{s / 2, []uint32{10, 0}, 5, []uint32{10, 0}},
		},
		"a loss, and strays much later": {
			{0, []uint32{0, 0}, 0, []uint32{0, 0}},
			{s / 10, []uint32{1, 0}, 1, []uint32{1, 0}},
			{2 * s, []uint32{1, 0}, 1, []uint32{1, 0}},
			{4 * s, []uint32{1, 0}, 1, []uint32{1, 0}},
			{5 * s, []uint32{6, 0}, 1, []uint32{1, 0}},
			{6 * s, []uint32{7, 0}, 2, []uint32{2, 0}},
		},
		"a loss between the look and the read": {
			{0, []uint32{0, 0}, 0, []uint32{0, 0}},
			{s / 10, []uint32{1, 0}, 1, []uint32{1, 0}}, // a stray, and a loss that is not on the listener yet
			{s / 5, []uint32{2, 0}, 1, []uint32{2, 0}},
		},
		"it wraps": {
			{0, []uint32{1<<32 - 2, 0}, 0, []uint32{1<<32 - 2, 0}},
			{s / 10, []uint32{3, 0}, 0, []uint32{1<<32 - 2, 0}},
			{s / 5, []uint32{4, 0}, 1, []uint32{1<<32 - 1, 0}},
		},
		"of another namespace": {
			{0, []uint32{0, 5}, 0, []uint32{0, 5}},
			{s / 10, []uint32{0, 6}, 0, []uint32{0, 6}},
		},
		"it cannot be read": {
			{0, []uint32{0, 0}, unreadable, []uint32{0, 0}},
			{s / 10, []uint32{4, 0}, unreadable, []uint32{4, 0}},
		},
	} {
		var dropped uint64
		strays := newStrays([]bool{true, false}, func() (uint64, bool) { return dropped, dropped != unreadable })
		for _, l := range looks {
			samples := []Sample{{Drops: l.counters[0]}, {Drops: l.counters[1]}}
			dropped = l.dropped
			strays.sift(l.at, samples, func(int) error { return nil })
			if got := []uint32{samples[0].Drops, samples[1].Drops}; !slices.Equal(got, l.want) {
				t.Errorf("%s, at %v: drops %v, want %v", name, l.at, got, l.want)
			}
		}
	}
}

func TestStraysLeaveAloneWhatFailed(t *testing.T) {
	t.Parallel()
	broken := false
	strays := newStrays([]bool{true}, func() (uint64, bool) { return 0, true })
	for _, c := range []struct {
		drops  uint32
		broken bool
		want   uint32
	}{{5, false, 5}, {9, false, 5}, {0, true, 0}, {9, false, 5}, {10, false, 5}} {
		broken = c.broken
		samples := []Sample{{Drops: c.drops}}
		strays.sift(0, samples, func(int) error {
			if broken {
				return errors.New("cannot look")
			}
			return nil
		})
		if samples[0].Drops != c.want {
			t.Errorf("%+v: drops %d", c, samples[0].Drops)
		}
	}
}

func TestSiftingTakesNoMemory(t *testing.T) {
	var dropped uint64
	strays := newStrays(make([]bool, 100), func() (uint64, bool) { return dropped, true })
	samples, none, at := make([]Sample, 100), func(int) error { return nil }, time.Duration(0)
	for i := range strays.near {
		strays.near[i] = true
	}
	if n := testing.AllocsPerRun(100, func() {
		at += time.Millisecond
		for i := range samples {
			samples[i].Drops = uint32(at)
		}
		strays.sift(at, samples, none)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
