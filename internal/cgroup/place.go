package cgroup

import (
	"bytes"
	"path"
	"strconv"
	"strings"
)

// A mount is a cgroup v2 file system.
type mount struct {
	root  string // the cgroup that is mounted
	point string // where
}

// mounts returns those of cgroup v2 in a mountinfo file, proc_pid_mountinfo(5).
// Lines that are none are left out.
func mounts(mountinfo []byte) []mount {
	var all []mount
	for line := range bytes.Lines(mountinfo) {
		// 41 31 0:38 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw
		before, after, ok := strings.Cut(string(line), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(kind) < 1 || kind[0] != "cgroup2" {
			continue
		}
		m := mount{root: unescape(fields[3]), point: unescape(fields[4])}
		if path.IsAbs(m.root) && path.IsAbs(m.point) {
			all = append(all, m)
		}
	}
	return all
}

// unescape undoes \040 and the like, as the kernel writes them.
func unescape(s string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		s = after
		if len(s) >= 3 {
			if c, err := strconv.ParseUint(s[:3], 8, 8); err == nil {
				out.WriteByte(byte(c))
				s = s[3:]
				continue
			}
		}
		out.WriteByte('\\')
	}
}

// ownPath returns the cgroup v2 path in a cgroup file, cgroups(7); "" is none.
func ownPath(cgroup []byte) string {
	for line := range bytes.Lines(cgroup) {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), "0::")
		if ok && path.IsAbs(rest) {
			return strings.TrimSuffix(rest, " (deleted)") // its directory is not to be found then
		}
	}
	return ""
}

// A place is a cgroup and the mount through which it can be reached.
type place struct {
	mount mount
	below string // of the mount's root, relative; "" is the root itself
}

// locate finds the mount that shows the cgroup with this path. Both are told in
// terms of the cgroup namespace, cgroup_namespaces(7); what lies outside of it
// begins with "/..". The latest mount hides earlier ones.
func locate(all []mount, own string) (place, bool) {
	for i := len(all) - 1; i >= 0; i-- {
		m := all[i]
		below, ok := strings.CutPrefix(own, strings.TrimSuffix(m.root, "/"))
		if !ok || below != "" && below[0] != '/' {
			continue
		}
		below = strings.TrimPrefix(below, "/")
		if below != "" && (below != path.Clean(below) || strings.HasPrefix(below, "..")) {
			continue
		}
		return place{m, below}, true
	}
	return place{}, false
}

// dir is the folder of the cgroup.
func (p place) dir() string { return path.Join(p.mount.point, p.below) }

// name is the path of the cgroup, for people.
func (p place) name() string { return path.Join(p.mount.root, p.below) }

// base is its last part; "" for the root.
func (p place) base() string {
	if p.below == "" {
		return ""
	}
	return path.Base(p.below)
}

// parent is the cgroup above; false if it is not shown here.
func (p place) parent() (place, bool) {
	if p.below == "" {
		return place{}, false
	}
	up := path.Dir(p.below)
	if up == "." {
		up = ""
	}
	return place{p.mount, up}, true
}
