package load

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// TestMain fails when a test leaves a descriptor open or a goroutine running.
func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		os.Exit(serveUntilStdinEnds())
	}
	before := openDescriptors()
	goroutines := runtime.NumGoroutine()
	code := m.Run()
	for fd, name := range openDescriptors() {
		if _, ok := before[fd]; !ok {
			fmt.Fprintf(os.Stderr, "a test left descriptor %d open: %s\n", fd, name)
			code = 1
		}
	}
	if n := settledGoroutines(goroutines); n > goroutines {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "tests left %d goroutines:\n%s\n", n-goroutines, stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// settledGoroutines gives goroutines that were told to end the time to do so.
func settledGoroutines(want int) int {
	for deadline := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > want && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	return runtime.NumGoroutine()
}

// openDescriptors returns what each descriptor of this process refers to. The
// runtime's own, which appear with the first socket, are there before.
func openDescriptors() map[int]string {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	open := map[int]string{}
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		// Glob's own descriptor is closed by now.
		if to, err := os.Readlink(name); err == nil {
			fd, _ := strconv.Atoi(filepath.Base(name))
			open[fd] = to
		}
	}
	return open
}
