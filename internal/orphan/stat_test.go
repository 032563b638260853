package orphan

import (
	"slices"
	"strings"
	"testing"
)

const statLine = "12 (a) b (c) S 3 4 5 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 2 0 987654 2506752 143\n"

func TestParseStat(t *testing.T) {
	t.Parallel()
	p, err := parseStat([]byte(statLine))
	want := Process{PID: 12, Parent: 3, Start: 987654, Name: "a) b (c", group: 4, flags: 4194560, state: 'S', threads: 2}
	if err != nil || p != want {
		t.Errorf("%+v, %v; want %+v", p, err, want)
	}
	for _, text := range []string{"", "12", "12 (", "12 )(", "x (a) S 3 4 5", strings.Replace(statLine, "12 ", "0 ", 1), strings.Replace(statLine, " 3 ", " -3 ", 1), strings.Replace(statLine, "987654", "x", 1)} {
		if p, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, p)
		}
	}
}

func TestDead(t *testing.T) {
	t.Parallel()
	for p, want := range map[Process]bool{
		{state: 'S', threads: 1}: false,
		{state: 'Z', threads: 1}: true,
		{state: 'Z', threads: 2}: false, // its leader has ended
		{state: 'X', threads: 0}: true,
	} {
		if p.dead() != want {
			t.Errorf("%+v: dead is %v", p, !want)
		}
	}
}

func TestBelow(t *testing.T) {
	t.Parallel()
	table := []Process{{PID: 5, Parent: 3}, {PID: 3, Parent: 2}, {PID: 2, Parent: 1}, {PID: 4, Parent: 2}, {PID: 1, Parent: 1}, {PID: 8, Parent: 9}, {PID: 9, Parent: 8}}
	numbers := func(all []Process) (n []int) {
		for _, p := range all {
			n = append(n, p.PID)
		}
		return n
	}
	if got := numbers(below(table, 1, nil)); !slices.Equal(got, []int{2, 3, 4, 5}) {
		t.Errorf("below 1: %v", got)
	}
	if got := numbers(below(table, 1, func(pid int) bool { return pid == 3 })); !slices.Equal(got, []int{2, 4}) {
		t.Errorf("without 3: %v", got)
	}
	if got := numbers(below(table, 8, nil)); !slices.Equal(got, []int{9}) { // a ring
		t.Errorf("below 8: %v", got)
	}
}

func TestHasMarker(t *testing.T) {
	t.Parallel()
	for environ, want := range map[string]bool{
		"A=1\x00M=2/ab\x00B=3\x00": true,
		"M=2/ab":                   true,
		"M=2/abc\x00":              false,
		"XM=2/ab\x00":              false,
		"X=\nM=2/ab\x00":           false,
		"":                         false,
	} {
		if hasMarker([]byte(environ), []byte("M=2/ab")) != want {
			t.Errorf("%q: want %v", environ, want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statLine))
	f.Add([]byte("1 (\n) Z 0 0 0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parseStat(text)
		if err == nil && (p.PID < 1 || p.Parent < 0) || err != nil && p != (Process{}) {
			t.Errorf("%+v, %v", p, err)
		}
		below([]Process{p, {PID: p.Parent, Parent: p.PID}}, p.Parent, nil) // it ends
	})
}

func FuzzHasMarker(f *testing.F) {
	f.Add([]byte("A=1\x00M=2\x00"), []byte("M=2"))
	f.Fuzz(func(t *testing.T, environ, marker []byte) {
		want := slices.Contains(strings.Split(string(environ), "\x00"), string(marker)) && len(marker) > 0
		if hasMarker(environ, marker) != want {
			t.Errorf("want %v", want)
		}
	})
}
