package units

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

const (
	misbehave = "/usr/local/bin/misbehave"
	// current is a link to the release that is to run; each is a script.
	current = "/srv/web/current"
	address = "127.0.0.1:80"
)

// patient are settings with which an upgrade does not mind that clients wait,
// because the machine of the tests is busy: these tests are about systemd.
func patient() []string { return []string{"--queue-target", "5s", "--queue-interval", "10s"} }

// A site is web.service on a machine of its own, whose program is examples/misbehave.
type site struct{ machine }

// eachSite starts a site on each version, installed with the flags given to
// "supervisor unit".
func eachSite(t *testing.T, flags []string, f func(t *testing.T, s site)) {
	t.Helper()
	each(t, func(t *testing.T, m machine) {
		s := site{m}
		s.prepare(t, flags...)
		s.Systemctl(t, "start", "web.service")
		f(t, s)
	})
}

// prepare installs the units and a release, and starts nothing.
func (s site) prepare(t *testing.T, flags ...string) {
	t.Helper()
	run(t, s.Command(t.Context(), "install", "-D", s.Build(t, "../../examples/misbehave"), misbehave))
	s.release(t, "exec "+misbehave)
	s.install(t, slices.Concat([]string{
		"web", "--listen", "http=tcp://" + address, "--bake", "200ms", "--drain-timeout", "5s", "--stop-grace", "300ms",
	}, patient(), flags, []string{"--", current})...)
}

// missing is a release that is not there.
const missing = ""

// release makes a script the current release, in one step.
func (s site) release(t *testing.T, script string) {
	t.Helper()
	folder := s.Path(filepath.Dir(current))
	name := fmt.Sprintf("release-%d", time.Now().UnixNano())
	err := os.MkdirAll(folder, 0o755) //nolint:gosec // is read by the service
	if err == nil && script != missing {
		err = os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755) //nolint:gosec // a program
	}
	if err == nil {
		err = os.Symlink(name, filepath.Join(folder, "new"))
	}
	if err == nil {
		err = os.Rename(filepath.Join(folder, "new"), s.Path(filepath.Dir(current))+"/current")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// status is what "supervisor status --json" tells, as far as the tests ask.
type status struct {
	PID         int
	Phase       string
	Generations []struct {
		Generation  int
		Role        string
		PID         int
		MemoryBytes uint64 `json:"memory_bytes"`
		Group       string `json:"cgroup"`
	}
	Reports []struct{ Verdict, Reason string }
}

// in returns the generations of a role.
func (st status) in(role string) (found []int) {
	for _, g := range st.Generations {
		if g.Role == role {
			found = append(found, g.Generation)
		}
	}
	return found
}

// last is the latest verdict and its reason.
func (st status) last() string {
	if len(st.Reports) == 0 {
		return ""
	}
	r := st.Reports[len(st.Reports)-1]
	return r.Verdict + ": " + r.Reason
}

// ask returns the status, or an error while nobody answers.
func (s site) ask(t *testing.T) (status, error) {
	t.Helper()
	return s.askOf(t, "web")
}

// askOf is ask for any service.
func (s site) askOf(t *testing.T, name string) (st status, err error) {
	t.Helper()
	out, err := s.Command(t.Context(), supervisor, "status", "--json", name).Output()
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) && exit.ExitCode() == 3 { // told, of a service that is down
		err = json.Unmarshal(out, &st)
	}
	return st, err
}

// await waits for a status.
func (s site) await(t *testing.T, what string, ok func(status) bool) status {
	t.Helper()
	return s.awaitOf(t, "web", what, ok)
}

// awaitOf is await for any service.
func (s site) awaitOf(t *testing.T, name, what string, ok func(status) bool) (st status) {
	t.Helper()
	s.Await(t, name+": "+what, patience, func() bool {
		var err error
		st, err = s.askOf(t, name)
		return err == nil && ok(st)
	})
	return st
}

// active waits until a generation is active, and the only one.
func (s site) active(t *testing.T, generation int) status {
	t.Helper()
	return s.activeOf(t, "web", generation)
}

// activeOf is active for any service.
func (s site) activeOf(t *testing.T, name string, generation int) status {
	t.Helper()
	return s.awaitOf(t, name, fmt.Sprintf("generation %d active, alone", generation), func(st status) bool {
		return len(st.Generations) == 1 && slices.Equal(st.in("active"), []int{generation}) && st.Phase == "idle"
	})
}

// mainPID is the supervisor's.
func (s site) mainPID(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(s.Show(t, "web.service", "MainPID"))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// load sends new connections and kept ones, and what is said besides, until
// calm.
func (s site) load(t *testing.T, more ...load.Traffic) *load.Run {
	t.Helper()
	return s.only(t, append([]load.Traffic{
		{Pattern: load.NewConnection, Rate: 150},
		{Pattern: load.KeepAlive, Clients: 8, Rate: 20, Path: "/echo", PayloadBytes: 64, Echo: true},
	}, more...)...)
}

// only is load with nothing but what is said.
func (s site) only(t *testing.T, traffic ...load.Traffic) *load.Run {
	t.Helper()
	run, err := load.Start(t.Context(), load.Config{Target: "http://" + address, Dial: s.Dial, Duration: 5 * time.Minute, Traffic: traffic})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Stop() })
	return run
}

// served waits until some more requests were answered.
func served(t *testing.T, s site, run *load.Run) {
	t.Helper()
	before := run.Snapshot().OK
	s.Await(t, "answers", patience, func() bool { return run.Snapshot().OK > before+50 })
}

// unharmed ends the load, of which nothing may have failed.
func (s site) unharmed(t *testing.T, run *load.Run) load.Report {
	t.Helper()
	served(t, s, run)
	r := run.Stop()
	if r.OK < 50 || r.Failed > 0 {
		t.Errorf("%d requests failed: %v: %+v", r.Failed, r.FailedByKind, r.Traffic)
	}
	t.Logf("systemd %d: %s", s.Version, counts(r))
	return r
}

// counts is a report in a line.
func counts(r load.Report) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d failed of %d", r.Failed, r.Requests)
	for _, traffic := range r.Traffic {
		fmt.Fprintf(&text, "; %s %d of %d, max %.0f ms", traffic.Name, traffic.Failed, traffic.Requests, traffic.All.MaxMS)
	}
	return text.String()
}

// stop stops units, the service among them, of which nothing may be left then.
func (s site) stop(t *testing.T, units ...string) {
	t.Helper()
	group := s.group(t)
	s.Systemctl(t, append([]string{"stop", "web.service"}, units...)...)
	s.nothingLeft(t, group)
}

// group is the folder of the service's control group.
func (s site) group(t *testing.T) string {
	t.Helper()
	path := s.Show(t, "web.service", "ControlGroup")
	if path == "" {
		t.Fatal("the service has no control group")
	}
	return s.Path("/sys/fs/cgroup" + path)
}

// nothingLeft looks for what a service may leave. A control group cannot be
// removed while a process is in it, and none can leave it: so where there is no
// group there is no process.
func (s site) nothingLeft(t *testing.T, group string) {
	t.Helper()
	s.Await(t, "an end of "+group, patience, func() bool { return !exists(group) })
	s.Await(t, "an end of the run directory", patience, func() bool { return !exists(s.Path("/run/supervisor/web")) })
}

// exists follows links: systemd leaves that to the run directory of a service
// whose user it invented.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
