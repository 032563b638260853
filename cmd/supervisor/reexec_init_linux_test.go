package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"example.com/supervisor/upgrade"
)

// TestReexecAsInit: as PID 1 of a pid namespace, as in a container, a supervisor
// reaps who becomes an orphan there, before and after it was replaced.
func TestReexecAsInit(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to make a pid namespace")
	}
	for _, tool := range []string{"unshare", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	program := misbehaveIn(t)
	l := conceive(t, []string{program, "-grandchild"}, "--bake", "100ms", "--settle", "20ms")
	l.args = append([]string{"--pid", "--fork", "--mount-proc", "--kill-child", "supervisor"}, l.args...)
	l.command = "unshare"
	l.start()
	i := initial{lineage: l}
	l.poll("a supervisor", i.born, func() any { return l.logged() })
	status := i.serves(1)
	if status.PID != 1 {
		t.Fatalf("its pid is %d", status.PID)
	}
	run := l.traffic("http://" + status.Listeners[0].Address)
	l.answered(run, 20)
	before := standingOf(t, i.pid)
	for range 3 {
		i.bereave()
		if out := i.command("reexec"); !strings.Contains(out, "(pid 1 as before)") {
			t.Fatalf("replaced: %s", out)
		}
		if now := standingOf(t, i.pid); now.born != before.born {
			t.Errorf("it was born at %s, and is another now, born at %s", before.born, now.born)
		}
		i.bereave()
	}
	if out := i.command("upgrade", "--wait-drain"); !strings.Contains(out, "committed") {
		t.Errorf("upgraded: %s", out)
	}
	i.serves(2)
	wantNoZombies(t, i.pid)
	l.noneFailed(run)
	i.command("stop")
	l.hasEnded()
}

// initial is a supervisor that is PID 1 of a namespace, where its clients are too:
// it hears nobody of whom it does not know who it is.
type initial struct {
	*lineage
	pid int // as seen from here
}

// born finds the supervisor, the child of unshare.
func (i *initial) born() bool {
	children := processesThat(i, func(stat []string) bool { return stat[statParent] == strconv.Itoa(i.cmd.Process.Pid) })
	if len(children) == 1 {
		i.pid = children[0]
	}
	return i.pid != 0
}

// command runs a command of supervisor there.
func (i *initial) command(words ...string) (output string) {
	i.Helper()
	return i.inside(append([]string{"supervisor", words[0], "--socket", i.socket()}, words[1:]...)...)
}

func (i *initial) inside(words ...string) string {
	args := append([]string{"--target", strconv.Itoa(i.pid), "--pid", "--mount", "--"}, words...)
	out, err := exec.Command("nsenter", args...).CombinedOutput()
	if err != nil {
		return err.Error() + ": " + string(out)
	}
	return string(out)
}

// serves waits until that generation is the only one.
func (i *initial) serves(generation int) (status upgrade.Status) {
	i.Helper()
	var said string
	i.poll("an active generation", func() bool {
		said = i.command("status", "--json")
		status = upgrade.Status{}
		return json.Unmarshal([]byte(said), &status) == nil && oneActive(status) && status.Generations[0].Generation == generation
	}, func() any { return said })
	return status
}

// bereave gives the supervisor children that end at different times, and waits
// until all are reaped.
func (i *initial) bereave() {
	i.Helper()
	if out := i.inside("sh", "-c", `(sleep 0.01 &); (sleep 0.1 &); (setsid sleep 0.05 &); (sh -c 'kill -KILL $$' &)`); out != "" {
		i.Fatalf("cannot make orphans: %s", out)
	}
	wantNoZombies(i, i.pid)
}
