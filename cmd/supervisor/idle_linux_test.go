package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/upgrade"
)

// BenchmarkIdle tells what a supervisor costs that has nothing to do: resident
// memory in MiB, and CPU time as a share of one core. It runs the command as it
// is built for users, beside one generation that reports its statistics.
func BenchmarkIdle(b *testing.B) {
	dir, err := os.MkdirTemp("", "sv") // short enough for a socket
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	binary, run := filepath.Join(dir, "supervisor"), filepath.Join(dir, "run")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("cannot build: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, "run", "--name", "web", "--run-dir", run, "--listen", "http=tcp://127.0.0.1:0", "--", "web")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	client := control.NewClient(filepath.Join(run, "control.sock"))
	defer func() {
		_ = client.Stop(b.Context(), false)
		_ = cmd.Wait()
	}()
	for { // until it serves
		if s, err := client.Status(b.Context()); err == nil && len(s.Generations) == 1 && s.Generations[0].Role == upgrade.RoleActive {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	for b.Loop() {
		before := ticks(b, cmd.Process.Pid)
		const window = 10 * time.Second
		<-time.After(window)
		b.ReportMetric(100*float64(ticks(b, cmd.Process.Pid)-before)/100/window.Seconds(), "%-of-a-core")
		b.ReportMetric(resident(b, cmd.Process.Pid), "MiB-resident")
	}
}

// ticks is the CPU time of a process in hundredths of a second (proc(5), stat:
// utime and stime; USER_HZ is 100 on every Linux that Go runs on).
func ticks(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user + system
}

// resident is the resident memory of a process in MiB (proc(5), statm).
func resident(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
	if err != nil {
		b.Fatal(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return float64(pages*os.Getpagesize()) / (1 << 20)
}
