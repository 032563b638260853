package demo

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/leaktest"
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
	os.Exit(leaktest.Run(m, nil))
}
