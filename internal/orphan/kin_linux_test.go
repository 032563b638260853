package orphan

import (
	"slices"
	"strings"
	"testing"
)

func TestKinAreTheGenerationsOfOneService(t *testing.T) {
	t.Parallel()
	service := ServiceMarker("/run/"+t.Name(), 1, 2)
	other := ServiceMarker("/run/"+t.Name(), 1, 3)
	second, tenth := Marker(2, t.Name()), Marker(10, t.Name())
	a := shell(t, "sleep 1000 & "+stay, service, tenth)
	b := shell(t, stay, service, second)
	shell(t, stay, other, Marker(11, t.Name()))
	shell(t, stay, service)
	shell(t, stay, service, EnvName+"=12")
	kin, err := KinOf(service)
	if err != nil || len(kin) != 2 {
		t.Fatalf("found %+v, %v", kin, err)
	}
	for i, want := range []struct {
		generation int
		marker     string
		pid        int
	}{{2, second, b.pid}, {10, tenth, a.pid}} {
		if k := kin[i]; k.Generation != want.generation || k.Marker != want.marker || len(k.First) != 1 || k.First[0].PID != want.pid {
			t.Errorf("found %+v, want %+v", k, want)
		}
	}
	if err := kin[0].Terminate(); err != nil {
		t.Error(err)
	}
	if err := b.wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("it ended with %v", err)
	}
	if err := kin[0].Terminate(); err != nil { // nobody is left
		t.Error(err)
	}
	if err := End(t.Context(), tenth, logger(t)); err != nil {
		t.Error(err)
	}
	if kin, err = KinOf(service); err != nil || len(kin) > 0 {
		t.Errorf("found %+v, %v", kin, err)
	}
}

func TestMarkerOfAGenerationIsRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"A=1\x00" + Marker(7, "t") + "\x00B=2\x00": 7,
		EnvName + "=7":           0,
		EnvName + "=0/ab":        0,
		EnvName + "=-1/ab":       0,
		EnvName + "=x/ab":        0,
		EnvName + "=9999999999/": 0,
		"X" + EnvName + "=7/ab":  0,
		"":                       0,
	} {
		n, marker, ok := generationIn([]byte(text))
		if ok != (want > 0) || ok && (n != want || !slices.Contains(strings.Split(text, "\x00"), marker)) {
			t.Errorf("%q: %d, %q, %v", text, n, marker, ok)
		}
	}
}
