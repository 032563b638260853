package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

func TestOnlyWhatNobodyTakesOverIsEnded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		result        string
		stopping, now bool
		end           bool
		why           string
	}{
		{"success", false, false, true, "nobody will take over what is left after result success"},
		{"timeout", false, false, true, "result timeout"},
		{"signal", false, false, false, "the next supervisor takes over what is left after result signal"},
		{"watchdog", false, false, false, "watchdog"},
		{"core-dump", false, false, false, "core-dump"},
		{"exit-code", false, false, false, "exit-code"},
		{"oom-kill", false, false, false, "oom-kill"},
		{"", false, false, false, "--now would end what is left"},
		{"", true, false, false, "--now would end what is left"},
		{"", false, true, true, "--now"},
		{"signal", true, false, true, "the supervisor had been told to stop"},
		{"signal", false, true, true, "--now"},
	} {
		if end, why := judge(c.result, c.stopping, c.now); end != c.end || !strings.Contains(why, c.why) {
			t.Errorf("%+v: %v, %q", c, end, why)
		}
	}
}

func TestSweepSaysWhatItWouldDo(t *testing.T) {
	t.Parallel()
	left := upgrade.State{Generations: []upgrade.ProcessState{{Generation: 3, PID: 1 << 30}, {Generation: 4, PID: 1<<30 + 1}}}
	for result, want := range map[string]string{
		"":        "leaves generation 3 (pid 1073741824), generation 4 (pid 1073741825): systemd has not said how the service ended; --now would end what is left\n",
		"signal":  "leaves generation 3 (pid 1073741824), generation 4 (pid 1073741825): the next supervisor takes over what is left after result signal\n",
		"success": "ends generation 3 (pid 1073741824), generation 4 (pid 1073741825): nobody will take over what is left after result success\n",
	} {
		var out strings.Builder
		s := sweeper{e: environment{out: &out, err: &out, getenv: func(key string) string {
			return map[string]string{"SERVICE_RESULT": result}[key]
		}}}
		if err := s.sweep(t.Context(), left, func(context.Context, []upgrade.ProcessState, *slog.Logger) error { return nil }); err != nil {
			t.Error(err)
		}
		if out.String() != want {
			t.Errorf("%q: %q, want %q", result, out.String(), want)
		}
	}
}

// leftBehind starts a process with a group of its own and a child in it, and
// returns it with the reading end of a pipe that all of them hold.
func leftBehind(t *testing.T) (*exec.Cmd, *os.File) {
	t.Helper()
	held, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close() })
	cmd := exec.Command("sh", "-c", "sleep 60 & echo up; wait")
	cmd.Stdout = hold
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hold.Close()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it has not been waited for
		_ = cmd.Wait()
	})
	if _, err := held.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	return cmd, held
}

func TestSweepEndsAProcessAndItsGroup(t *testing.T) {
	t.Parallel()
	cmd, held := leftBehind(t)
	ticks, err := startTicks(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := endGroup(upgrade.ProcessState{Generation: 1, PID: cmd.Process.Pid, StartTicks: ticks}); err != nil {
		t.Fatal(err)
	}
	if err := held.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := held.Read(make([]byte, 8)); n != 0 || err == nil || os.IsTimeout(err) {
		t.Errorf("somebody of the group lives: %d, %v", n, err)
	}
}

func TestSweepKnowsAProcessByItsStartToo(t *testing.T) {
	t.Parallel()
	cmd, _ := leftBehind(t)
	ticks, err := startTicks(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []upgrade.ProcessState{
		{PID: cmd.Process.Pid, StartTicks: ticks - 1},
		{PID: cmd.Process.Pid},
		{PID: 0, StartTicks: ticks},
		{PID: 1, StartTicks: ticks},
		{PID: -cmd.Process.Pid, StartTicks: ticks},
		{PID: 1 << 30, StartTicks: ticks},
	} {
		if err := endGroup(other); err != nil {
			t.Errorf("%+v: %v", other, err)
		}
	}
	if now, err := startTicks(cmd.Process.Pid); err != nil || now != ticks {
		t.Errorf("the process has ended: %v", err)
	}
	if state := stateOf(t, cmd.Process.Pid); state == "Z" {
		t.Error("the process was killed")
	}
}

// stateOf is the state of a process, as proc_pid_stat(5) has it.
func stateOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))[0]
}
