package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// StartsAgain reports whether systemd means to start this service again once it
// has ended, as in the midst of "systemctl restart". systemd tells that to
// nobody who does not ask; so it is asked by systemctl(1), which a service's own
// user may. An error means that it cannot be told.
func StartsAgain(ctx context.Context) (bool, error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return false, fmt.Errorf("cannot tell the unit of this process: %w", err)
	}
	unit, err := unitOf(string(groups))
	if err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, "systemctl", "list-jobs", "--no-legend", "--plain", "--no-pager")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C"} // NOTIFY_SOCKET is not for it
	cmd.WaitDelay = time.Second
	jobs, err := cmd.Output()
	if err != nil {
		return false, fmt.Errorf("cannot ask systemd for its jobs: %w", err)
	}
	return startsAgain(string(jobs), unit), nil
}

// unitOf finds the service in what /proc/PID/cgroup says (cgroups(7)).
func unitOf(groups string) (string, error) {
	for line := range strings.Lines(groups) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		if strings.Contains(path, "/user@") {
			return "", errors.New("cannot tell what systemd means to do: the service belongs to a user's systemd")
		}
		for name := range strings.SplitSeq(path, "/") {
			if strings.HasSuffix(name, ".service") {
				return strings.TrimPrefix(name, "_"), nil // see escapeGroup
			}
		}
	}
	return "", errors.New("cannot tell the unit of this process: it is in the control group of none")
}

// startsAgain looks for a job of the unit that is no mere stop among lines of
// "NUMBER UNIT TYPE STATE". That of a restart has the type restart while the
// service stops, and a start that was asked for meanwhile waits.
func startsAgain(jobs, unit string) bool {
	for line := range strings.Lines(jobs) {
		words := strings.Fields(line)
		if len(words) >= 3 && words[1] == unit && words[2] != "stop" {
			return true
		}
	}
	return false
}
