package listen

import (
	"strings"
	"testing"
)

// TestPlacesAreFoundBySpecOrAddress: the first of those that are the same, or bind
// the same address.
func TestPlacesAreFoundBySpecOrAddress(t *testing.T) {
	t.Parallel()
	open := []string{"any=tcp://127.0.0.1:0", "a=tcp://127.0.0.1:80", "b=unix:///run/b", "s=systemd", "c=tcp://LOCALHOST:81", "d=tcp://localhost:82?backlog=9"}
	places := NewPlaces(parsed(t, open))
	for spec, want := range map[string]int{
		"any=tcp://127.0.0.1:0":      0,
		"other=tcp://127.0.0.1:0":    -1, // gets a port of its own
		"a=tcp://127.0.0.1:80":       1,
		"x=tcp4://127.0.0.1:80":      1,
		"x=tcp://[::ffff:7f00:1]:80": 1,
		"x=udp://127.0.0.1:80":       -1,
		"x=unix:///run/./b":          2,
		"s=systemd":                  3,
		"x=systemd":                  -1,
		"x=tcp://localhost:81":       4,
		"d=tcp://localhost:82":       5, // with another backlog
	} {
		if got := places.Of(parsed(t, []string{spec})[0]); got != want {
			t.Errorf("%s is at %d, want %d of %s", spec, got, want, strings.Join(open, ", "))
		}
	}
	if got := NewPlaces(nil).Of(Spec{}); got != -1 {
		t.Errorf("found at %d among none", got)
	}
}

func parsed(t *testing.T, texts []string) []Spec {
	t.Helper()
	var all []Spec
	for _, text := range texts {
		s, err := ParseSpec(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}
