package systemdtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestMain(m *testing.M) { Main(checked{m}) }

// checked fails when a test leaves a descriptor open.
type checked struct{ *testing.M }

func (c checked) Run() int {
	before := descriptors()
	code := c.M.Run()
	for fd, name := range descriptors() {
		if before[fd] == "" {
			fmt.Fprintf(os.Stderr, "a test left descriptor %s open: %s\n", fd, name)
			code = 1
		}
	}
	return code
}

// descriptors returns what each descriptor of this process refers to. The
// runtime's own, which appear with the first socket, are there before.
func descriptors() map[string]string {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	open := map[string]string{}
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		// Glob's own descriptor is closed by now.
		if to, err := os.Readlink(name); err == nil {
			open[filepath.Base(name)] = to
		}
	}
	return open
}
