package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/internal/cgroup"
	"example.com/supervisor/upgrade"
)

func TestMemoryObjection(t *testing.T) {
	t.Parallel()
	const mebi = 1 << 20
	room := func(free uint64) cgroup.Room {
		return cgroup.Room{Free: free, Source: "memory.max of /web is 512 MiB, 392 MiB are used"}
	}
	for _, free := range []uint64{312 * mebi, 313 * mebi} {
		if err := memoryObjection(312*mebi, room(free)); err != nil {
			t.Errorf("%d are free: %v", free, err)
		}
	}
	err := memoryObjection(312*mebi, room(120*mebi))
	want := "the active generation uses 312 MiB and only 120 MiB are left for a second one (memory.max of /web is 512 MiB, 392 MiB are used)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestAdmissionAsksForMemory(t *testing.T) {
	t.Parallel()
	const refusal = "this is no moment to deploy: the active generation uses 300 MiB and only 100 MiB are left for a second one (MemAvailable is 100 MiB); wait until there is more, raise the limit (MemoryMax= of a unit), or use --force"
	known := func() (uint64, bool) { return 300 << 20, true }
	little := func() (cgroup.Room, error) {
		return cgroup.Room{Free: 100 << 20, Source: "MemAvailable is 100 MiB"}, nil
	}
	for _, c := range []struct {
		name      string
		need      func() (uint64, bool)
		room      func() (cgroup.Room, error)
		admission upgrade.Admission
		want      string // the error; "" is none
		decided   string
	}{
		{"too little", known, little, upgrade.Admission{Kind: upgrade.KindUpgrade}, refusal, "admission refused memory"},
		{"force is recorded", known, little, upgrade.Admission{Kind: upgrade.KindUpgrade, Force: true}, refusal, "admission let memory"},
		{"rollback", known, little, upgrade.Admission{Kind: upgrade.KindRollback}, "", "admission let memory"},
		{"nothing runs", known, little, upgrade.Admission{Kind: upgrade.KindUpgrade, Down: true}, "", "admission let memory"},
		{"nobody tells", nil, little, upgrade.Admission{Kind: upgrade.KindUpgrade}, "", "admission let settled"},
		{"need is not known", func() (uint64, bool) { return 0, false }, little, upgrade.Admission{Kind: upgrade.KindUpgrade}, "", "admission let settled"},
		{"room is not known", known, func() (cgroup.Room, error) { return cgroup.Room{}, errors.New("no /proc") }, upgrade.Admission{Kind: upgrade.KindUpgrade}, "", "admission let settled"},
		{"enough", known, func() (cgroup.Room, error) { return cgroup.Room{Free: 1 << 40}, nil }, upgrade.Admission{Kind: upgrade.KindUpgrade}, "", "admission let settled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := watch(t, func(*config.Config) {})
			var decided []string
			w.need, w.room = c.need, c.room
			w.decided = func(step, decision, reason string) {
				decided = append(decided, strings.Join([]string{step, decision, reason}, " "))
			}
			err := w.Admit(t.Context(), c.admission)
			if got := strings.TrimPrefix(fmt.Sprint(err), "<nil>"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if !slices.Equal(decided, []string{c.decided}) {
				t.Errorf("decided %q, want %q", decided, c.decided)
			}
		})
	}
}

func TestSizeInWords(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[uint64]string{0: "0.0 MiB", 6868173: "6.6 MiB", 10 << 20: "10 MiB", 312<<20 + 1: "312 MiB", 5 << 30: "5120 MiB"} {
		if got := sizeInWords(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
}
