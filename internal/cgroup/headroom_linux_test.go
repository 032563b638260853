package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes files below a folder; the names are paths.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHeadroomIsTheLeast(t *testing.T) {
	t.Parallel()
	const stat = "anon 1\ninactive_file %d\nslab_reclaimable 0\n"
	for _, c := range []struct {
		name  string
		files map[string]string // of the cgroups
		free  uint64
		want  string
	}{
		{"no limit", map[string]string{"web/memory.max": "max\n"}, 1000 << 20, "MemAvailable is 1000 MiB"},
		{"no controller", nil, 1000 << 20, "MemAvailable is 1000 MiB"},
		{"own limit", map[string]string{
			"web/memory.max": "536870912\n", "web/memory.current": "524288000\n", "web/memory.stat": fmt.Sprintf(stat, 100<<20),
		}, 112 << 20, "memory.max of /system.slice/web is 512 MiB, 400 MiB are used"},
		{"limit above", map[string]string{
			"web/memory.max": "536870912\n", "web/memory.current": "1048576\n", "web/memory.stat": fmt.Sprintf(stat, 0),
			"memory.max": "104857600\n", "memory.current": "209715200\n", "memory.stat": fmt.Sprintf(stat, 0),
		}, 0, "memory.max of /system.slice is 100 MiB, 200 MiB are used"},
		{"high limit", map[string]string{
			"web/memory.max": "5368709120\n", "web/memory.current": "1\n", "web/memory.stat": "",
		}, 1000 << 20, "MemAvailable is 1000 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			proc, tree := t.TempDir(), t.TempDir()
			write(t, proc, map[string]string{
				"meminfo":        "MemTotal: 9 kB\nMemAvailable:    1024000 kB\n",
				"self/cgroup":    "0::/system.slice/web\n",
				"self/mountinfo": "41 31 0:38 /system.slice " + tree + " rw - cgroup2 cgroup2 rw\n",
			})
			write(t, tree, c.files)
			room, err := headroom(proc)
			if err != nil || room.Free != c.free || room.Source != c.want {
				t.Errorf("%d (%s), %v; want %d (%s)", room.Free, room.Source, err, c.free, c.want)
			}
		})
	}
}

func TestHeadroomThatCannotBeTold(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	if _, err := headroom(proc); err == nil {
		t.Error("no meminfo, and no error")
	}
	write(t, proc, map[string]string{"meminfo": "MemFree: 12 kB\n"})
	if _, err := headroom(proc); err == nil || !strings.Contains(err.Error(), "MemAvailable") {
		t.Errorf("got %v", err)
	}
	write(t, proc, map[string]string{"meminfo": "MemAvailable: 2048 kB\n"})
	if room, err := headroom(proc); err != nil || room.Free != 2<<20 { // there are no cgroups
		t.Errorf("got %v, %v", room, err)
	}
}

func TestHeadroomOfThisMachine(t *testing.T) {
	t.Parallel()
	room, err := Headroom()
	if err != nil || room.Free == 0 || room.Source == "" {
		t.Errorf("got %+v, %v", room, err)
	}
	t.Logf("%s: %s", mebibytes(room.Free), room.Source)
}
