package programs

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/rig"
)

// TestTableflipMovesAndBack: one and the same binary upgrades itself by tableflip,
// is upgraded by a supervisor, and by itself again.
func TestTableflipMovesAndBack(t *testing.T) {
	t.Parallel()
	s := find(t, "tableflip").prepare(t)
	s.upgradesItself()
	u := s.supervise(rig.Build(t, rig.Command))
	run := s.load()
	answered(t, run, 20)
	u.Commits()
	answered(t, run, 20)
	if r := run.Stop(); r.Failed > 0 {
		t.Errorf("%d of %d requests failed: %s", r.Failed, r.Requests, failures(r))
	}
	u.Stop()
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
	s.Cleanup(func() { // of a test that has failed
		if pid := s.running(); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	s.poll("the program to listen", func() bool {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	run := s.load()
	answered(s, run, 20)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		s.Errorf("the version before ended badly: %v", err)
	}
	answered(s, run, 20)
	if r := run.Stop(); r.Failed > 0 {
		s.Errorf("by itself %d of %d requests failed: %s", r.Failed, r.Requests, failures(r))
	}
	next := s.running()
	if next == 0 {
		s.Fatal("there is no next version")
	}
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		s.Error(err)
	}
	if _, err := syscall.Wait4(next, nil, 0, nil); err != nil { // it is a child of this process now, see TestMain
		s.Error(err)
	}
}

// running is the process of the site's program; 0 if there is none.
func (s *site) running() int {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if path, err := os.Readlink(link); err == nil && path == s.words()[0] {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			return pid
		}
	}
	return 0
}

// poll asks until ok, with a short pause.
func (s *site) poll(what string, ok func() bool) {
	s.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(rig.Patience); !ok(); {
		select {
		case <-tick.C:
		case <-late:
			s.Fatalf("waited in vain for %s", what)
		}
	}
}
