package rig

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// markEnv is the variable that marks all processes of a rig.
const markEnv = "SUPERVISOR_TEST_RIG"

func (s *Supervisor) mark() string { return markEnv + "=" + s.Dir }

// A Process is one of a rig.
type Process struct {
	PID     int
	Command string
}

// Processes are all that live of the rig, the supervisor and its generations
// included: those that have its mark in their environment, which a zombie has not
// any more (proc_pid_environ(5)).
func (s *Supervisor) Processes() []Process {
	s.Helper()
	var all []Process
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		s.Fatal(err)
	}
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err != nil || !slices.ContainsFunc(bytes.Split(environ, []byte{0}), func(entry []byte) bool { return string(entry) == s.mark() }) {
			continue
		}
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		all = append(all, Process{pid, string(bytes.ReplaceAll(command, []byte{0}, []byte{' '}))})
	}
	return all
}

// Left are the processes and files that a supervisor that has ended left behind.
func (s *Supervisor) Left() (left []string) {
	s.Helper()
	for _, p := range s.Processes() {
		left = append(left, "process "+strconv.Itoa(p.PID)+": "+p.Command)
	}
	files, _ := filepath.Glob(filepath.Join(s.Dir, "run", "*"))
	return append(left, files...)
}

// bury ends at once what is left when the test ends.
func (s *Supervisor) bury() {
	if !s.ended {
		_, _ = s.Run("stop", "--now")
		s.Wait()
	}
	for _, p := range s.Processes() {
		if handle, err := os.FindProcess(p.PID); err == nil { // by pidfd: it is that process or none
			if slices.ContainsFunc(s.Processes(), func(q Process) bool { return q.PID == p.PID }) {
				_ = handle.Kill()
			}
			_ = handle.Release()
		}
	}
	if s.Failed() {
		text, _ := os.ReadFile(s.Log)
		s.Logf("%s", text)
	}
}

// Descriptors counts what the supervisor has open (proc_pid_fd(5)).
func (s *Supervisor) Descriptors() int {
	s.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	if err != nil {
		s.Fatal(err)
	}
	return len(open)
}
