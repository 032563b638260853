package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/numbers"
	"example.com/supervisor/upgrade"
)

// historyFile is where supervisors keep what became of releases, in their state
// directory. They write it anew at historyBound.
const (
	historyFile  = "supervisor-history.jsonl"
	historyBound = 1 << 20
)

// Held is what a supervisor holds at a moment.
type held struct {
	resident, heap, state, history int // bytes
	descriptors, goroutines        int
	processes                      int // of it and all its generations
}

// holds looks at what the supervisor holds while one generation serves.
func (s *supervised) holds() (h held) {
	s.Helper()
	s.alone()
	metrics := s.Metrics()
	h.heap = int(numbers.FromMetrics(s.TB, metrics, "go_memstats_heap_inuse_bytes"))
	h.goroutines = int(numbers.FromMetrics(s.TB, metrics, "go_goroutines"))
	h.resident = resident(s.TB, s.PID())
	h.state = size(filepath.Join(s.Dir, "run", "state.json"))
	h.history = size(filepath.Join(s.Dir, "state", historyFile))
	s.client.CloseIdleConnections()
	s.Poll("the end of what asks", func() bool { // of the control connections, which are descriptors too
		n := s.Descriptors()
		same := n == h.descriptors
		h.descriptors = n
		return same
	}, func() any { return h })
	s.Poll("the end of processes", func() bool {
		h.processes = len(s.Processes())
		return h.processes == 2
	}, func() any { return s.Processes() })
	return h
}

// size is the length of a file; 0 if there is none.
func size(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return int(info.Size())
}

// resident is the resident memory of a process in bytes (proc(5), statm).
func resident(tb testing.TB, pid int) int {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		tb.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		tb.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// onCPU is how long the threads of processes ran (schedstat of each, in
// nanoseconds: Documentation/scheduler/sched-stats.rst). A process that has ended
// counts no more.
func onCPU(tb testing.TB, pids ...int) (sum time.Duration) {
	tb.Helper()
	for _, pid := range pids {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			tb.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // a thread that has ended
			}
			ns, _ := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			sum += time.Duration(ns)
		}
	}
	return sum
}

// busy is which part of a core the processes take for a while.
func busy(tb testing.TB, window time.Duration, pids ...int) float64 {
	tb.Helper()
	begun, before := time.Now(), onCPU(tb, pids...)
	<-time.After(window) // what is measured takes time
	return (onCPU(tb, pids...) - before).Seconds() / time.Since(begun).Seconds()
}

// overseers are the supervisor and, of programs that do not speak to it, the
// processes that stand for them.
func (s *supervised) overseers(st upgrade.Status) []int {
	pids := []int{s.PID()}
	for _, g := range st.Generations {
		if g.Program != 0 {
			pids = append(pids, g.PID)
		}
	}
	return pids
}

// server is the process that serves as a generation.
func server(g upgrade.GenerationStatus) int {
	if g.Program != 0 {
		return g.Program
	}
	return g.PID
}
