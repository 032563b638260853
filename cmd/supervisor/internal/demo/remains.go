package demo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// remainsGrace is how long a process that was killed may take to vanish.
const remainsGrace = 2 * time.Second

// remains finds what the supervisor left behind, and removes it. Processes have
// grace to vanish. Processes are
// known by their environment, which they inherit whatever their parents do.
func (s *supervisor) remains(grace time.Duration) []string {
	var found []string
	for deadline := time.Now().Add(grace); ; {
		pids := marked(s.mark)
		if len(pids) == 0 {
			break
		}
		if time.Now().After(deadline) {
			found = append(found, killed(pids)...)
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	files, _ := filepath.Glob(filepath.Join(s.runDir, "*"))
	if _, err := os.Lstat(s.runDir); err == nil {
		files = append([]string{s.runDir}, files...)
	}
	for _, file := range files {
		found = append(found, "file "+file)
	}
	if err := os.RemoveAll(s.runDir); err != nil {
		found = append(found, err.Error())
	}
	return found
}

// marked returns the processes besides this one whose environment has mark
// (proc_pid_environ(5)).
func marked(mark string) []int {
	var pids []int
	environments, _ := filepath.Glob("/proc/[0-9]*/environ") // a constant pattern
	for _, path := range environments {
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err != nil || pid == os.Getpid() {
			continue
		}
		environment, err := os.ReadFile(path) // not of others' processes
		if err == nil && bytes.Contains(environment, []byte(mark+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killed kills processes and names them.
func killed(pids []int) []string {
	var names []string
	for _, pid := range pids {
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		names = append(names, fmt.Sprintf("process %d (%s)", pid, bytes.TrimSpace(bytes.ReplaceAll(command, []byte{0}, []byte{' '}))))
		_ = p.Kill() // it may have ended
		_ = p.Release()
	}
	return names
}
