package architecture

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A file is a Go file that is no test, with its imports.
type file struct {
	pkg, name string // the folder below the module's root; the base name
	imports   []string
}

// checker finds what in files is against rooms.
type checker struct {
	module string
	rooms  []room
	used   map[[2]string]bool // arrows seen: room's path, folder
	wrong  []string
}

func check(module string, rooms []room, files []file) []string {
	c := checker{module: module, rooms: rooms, used: map[[2]string]bool{}}
	for _, f := range files {
		r, ok := c.roomOf(f.pkg)
		if !ok {
			c.complain("package %s is not in the table of rooms", f.pkg)
			continue
		}
		for _, i := range f.imports {
			c.judge(r, f, i)
		}
	}
	c.stale(files)
	slices.Sort(c.wrong)
	return slices.Compact(c.wrong)
}

func (c *checker) complain(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// roomOf finds the room of a package: by its path or by that of its folder.
func (c *checker) roomOf(pkg string) (room, bool) {
	for _, name := range []string{pkg, path.Dir(pkg) + "/*"} {
		if i := slices.IndexFunc(c.rooms, func(r room) bool { return r.path == name }); i >= 0 {
			return c.rooms[i], true
		}
	}
	return room{}, false
}

// judge looks at one import of one file.
func (c *checker) judge(r room, f file, imported string) {
	where := path.Join(f.pkg, f.name)
	if all, ok := r.files[f.name]; ok && !slices.Contains(all, imported) {
		c.complain("%s imports %s; it may import only %s", where, imported, strings.Join(all, " "))
		return
	}
	name, allowed := c.find(r, imported)
	switch {
	case !allowed:
		c.complain("%s imports %s, which is no arrow from %s", where, imported, r.path)
	case r.only[name] != nil && !slices.Contains(r.only[name], f.name):
		c.complain("%s imports %s; of %s only %s may", where, imported, r.path, strings.Join(r.only[name], " "))
	default:
		c.used[[2]string{r.path, name}] = true
	}
}

// find says under which name of r's lists an import is, and whether it is.
func (c *checker) find(r room, imported string) (name string, allowed bool) {
	if own, ok := strings.CutPrefix(imported, c.module+"/"); ok {
		return own, slices.Contains(r.ours, own)
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return imported, true // the standard library
	}
	i := slices.IndexFunc(r.others, func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") })
	if i < 0 {
		return imported, false
	}
	return r.others[i], true
}

// stale keeps the table true: a room and an arrow in it are ones that exist.
func (c *checker) stale(files []file) {
	for _, r := range c.rooms {
		if !slices.ContainsFunc(files, func(f file) bool { return f.pkg == r.path || path.Dir(f.pkg)+"/*" == r.path }) {
			c.complain("there is no package %s; take it out of the table of rooms", r.path)
			continue
		}
		for _, name := range slices.Concat(r.ours, r.others) {
			if !c.used[[2]string{r.path, name}] {
				c.complain("%s does not import %s; take it out of the table of rooms", r.path, name)
			}
		}
	}
}
