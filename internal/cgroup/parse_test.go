package cgroup

import (
	"path"
	"slices"
	"strings"
	"testing"
)

func TestMounts(t *testing.T) {
	t.Parallel()
	const info = `23 1 0:21 / /proc rw - proc proc rw
41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid shared:9 propagate_from:2 - cgroup2 cgroup2 rw,nsdelegate
42 31 0:38 /docker/a\040b /mnt/with\040space\134 ro - cgroup2 none rw
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
short line - cgroup2
99 31 0:38 relative /x rw - cgroup2 cgroup2 rw
`
	got := mounts([]byte(info))
	want := []mount{{"/", "/sys/fs/cgroup/unified"}, {"/docker/a b", `/mnt/with space\`}}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOwnPath(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"12:pids:/x\n1:name=systemd:/y\n0::/system.slice/web.service\n": "/system.slice/web.service",
		"0::/":                      "/",
		"0::/gone/here (deleted)\n": "/gone/here",
		"1:cpu:/only/v1\n":          "",
		"0::relative\n":             "",
		"":                          "",
	} {
		if got := ownPath([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	all := []mount{{"/", "/early"}, {"/docker/abc", "/inner"}, {"/..", "/outer"}}
	for own, want := range map[string]string{
		"/":                "/early",
		"/a/b":             "/early/a/b",
		"/docker/abc":      "/inner",
		"/docker/abc/d":    "/inner/d",
		"/docker/abcd":     "/early/docker/abcd",
		"/../x":            "/outer/x",
		"/../../x":         "",
		"/a/../b":          "",
		"/system.slice/ws": "/early/system.slice/ws",
	} {
		p, ok := locate(all, own)
		if got := p.dir(); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q %v, want %q", own, got, ok, want)
		}
	}
	p := place{mount{"/a", "/m"}, "b/c"}
	var names []string
	for ok := true; ok; p, ok = p.parent() {
		names = append(names, p.name()+" "+p.base())
	}
	if want := []string{"/a/b/c c", "/a/b b", "/a "}; !slices.Equal(names, want) {
		t.Errorf("up the tree: %q, want %q", names, want)
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{"max\n": unlimited, "0\n": 0, "4096": 4096} {
		if got, err := amount([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "many", "1 2"} {
		if _, err := amount([]byte(text)); err == nil {
			t.Errorf("%q is no amount", text)
		}
	}
	if n, ok := keyed([]byte("populated 1\nfrozen 0\n"), "frozen"); !ok || n != 0 {
		t.Error("frozen is 0")
	}
	if _, ok := keyed([]byte("populated x\n"), "populated"); ok {
		t.Error("populated is no number")
	}
	if n, ok := kilobytes([]byte("Rss: 1 kB\nPss:      12 kB\nPss_Anon: 3 kB\n"), "Pss"); !ok || n != 12<<10 {
		t.Errorf("Pss is %d", n)
	}
	if _, ok := kilobytes([]byte("Pss: 18446744073709551615 kB\n"), "Pss"); ok {
		t.Error("that is more than there can be")
	}
	if got := pids([]byte("12\n0\nx\n-3\n7")); !slices.Equal(got, []int{12, 7}) {
		t.Errorf("pids %v", got)
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	for stat, want := range map[string]uint64{
		"inactive_file 30\nslab_reclaimable 20\nactive_file 50\n": 50,
		"inactive_file 90\nslab_reclaimable 20\n":                 0,
		"inactive_file 200\n":                                     0,
		"":                                                        100,
	} {
		if got := inUse(100, []byte(stat)); got != want {
			t.Errorf("%q: %d, want %d", stat, got, want)
		}
	}
}

func FuzzPlace(f *testing.F) {
	f.Add("41 31 0:38 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n", "0::/a/b\n")
	f.Add("41 31 0:38 /.. /mnt\\040x rw - cgroup2 c rw\n", "0::/../x (deleted)\n")
	f.Fuzz(func(t *testing.T, mountinfo, cgroup string) {
		p, ok := locate(mounts([]byte(mountinfo)), ownPath([]byte(cgroup)))
		if !ok {
			return
		}
		if dir := p.dir(); !path.IsAbs(dir) || p.below != "" && !strings.HasPrefix(dir, strings.TrimSuffix(path.Clean(p.mount.point), "/")+"/") {
			t.Errorf("%q leads to %q, which is not below %q", cgroup, dir, p.mount.point)
		}
		for up := true; up; p, up = p.parent() { // it ends
		}
	})
}

func FuzzFigures(f *testing.F) {
	f.Add([]byte("populated 1\nfrozen 0\n"), "populated")
	f.Add([]byte("MemAvailable:    24270860 kB\n"), "MemAvailable")
	f.Add([]byte("max\n"), "")
	f.Fuzz(func(t *testing.T, text []byte, key string) {
		_, _ = amount(text)
		if n, ok := keyed(text, key); !ok && n != 0 && n != unlimited {
			t.Errorf("%d without a figure", n)
		}
		_, _ = kilobytes(text, key)
		for _, pid := range pids(text) {
			if pid < 1 {
				t.Errorf("pid %d", pid)
			}
		}
		if n, ok := generationOf(key); ok && groupName(n) != key {
			t.Errorf("%q is not %q", key, groupName(n))
		}
		if inUse(100, text) > 100 {
			t.Error("more in use than there is")
		}
	})
}
