package demo

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// update rewrites golden files.
var update = flag.Bool("update", false, "rewrite golden files")

// TestMain makes the test binary be a supervisor that does not stop, where it
// is called like one, and fails if the tests leak descriptors.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == RunCommand {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("is stuck")
		<-time.After(time.Minute)
		return
	}
	if r, w, err := os.Pipe(); err == nil { // starts the poller, which has descriptors
		r.Close()
		w.Close()
	}
	before := openDescriptors()
	status := m.Run()
	if after := openDescriptors(); after > before && status == 0 {
		fmt.Fprintf(os.Stderr, "%d descriptors are open, %d were before\n", after, before)
		status = 1
	}
	os.Exit(status)
}

func openDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
