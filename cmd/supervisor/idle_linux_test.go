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
		before := onCPU(b, cmd.Process.Pid)
		const window = 10 * time.Second
		<-time.After(window)
		b.ReportMetric(100*(onCPU(b, cmd.Process.Pid)-before).Seconds()/window.Seconds(), "%-of-a-core")
		b.ReportMetric(resident(b, cmd.Process.Pid), "MiB-resident")
	}
}

// onCPU is how long the threads of a process ran (schedstat of each, in
// nanoseconds: Documentation/scheduler/sched-stats.rst).
func onCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	files, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/schedstat"))
	if err != nil || len(files) == 0 {
		b.Fatalf("no schedstat of process %d: %v", pid, err)
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		ns, _ := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		sum += time.Duration(ns)
	}
	return sum
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
