package programs

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTableflipMovesAndBack: one and the same binary upgrades itself by tableflip,
// is upgraded by a supervisor, and by itself again.
func TestTableflipMovesAndBack(t *testing.T) {
	t.Parallel()
	s := find(t, "tableflip").prepare(t)
	s.upgradesItself()
	u := s.supervise(buildSupervisor(t))
	run := s.load()
	answered(t, run, 20)
	u.commits()
	answered(t, run, 20)
	if r := run.Stop(); r.Failed > 0 {
		t.Errorf("%d of %d requests failed: %s", r.Failed, r.Requests, failures(r))
	}
	u.stop()
	s.upgradesItself()
}

// upgradesItself runs the program without a supervisor and tells it to upgrade
// itself, under load.
func (s *site) upgradesItself() {
	s.Helper()
	words := s.words()
	cmd := exec.Command(words[0], words[1:]...)
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.poll("the program to listen", func() bool {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	run := s.load()
	answered(s, run, 20)
	var next int
	s.poll("the next version", func() bool { // it hears nothing before it is ready itself
		_ = cmd.Process.Signal(syscall.SIGHUP)
		next = childOf(cmd.Process.Pid)
		return next != 0
	})
	if err := cmd.Wait(); err != nil {
		s.Errorf("the version before ended badly: %v", err)
	}
	answered(s, run, 20)
	if r := run.Stop(); r.Failed > 0 {
		s.Errorf("by itself %d of %d requests failed: %s", r.Failed, r.Requests, failures(r))
	}
	// It is a child of this process now, see TestMain.
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		s.Error(err)
	}
	if _, err := syscall.Wait4(next, nil, 0, nil); err != nil {
		s.Error(err)
	}
}

// childOf is a child of a process; 0 if it has none.
func childOf(pid int) int {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if first, _, ok := strings.Cut(string(text), " "); ok {
			child, _ := strconv.Atoi(first)
			return child
		}
	}
	return 0
}

// poll asks until ok, with a short pause.
func (s *site) poll(what string, ok func() bool) {
	s.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			s.Fatalf("waited in vain for %s", what)
		}
	}
}
