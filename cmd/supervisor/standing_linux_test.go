package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/internal/orphan"
	"example.com/supervisor/upgrade"
)

// A standing is what a process must stay when another binary takes its place
// (proc(5)).
type standing struct {
	born        string // with the pid its identity
	args, env   []string
	dir         string
	limits      string
	signals     []string // which are ignored and caught
	descriptors map[string]int
	sockets     []string // those of the service that it holds
	guests      int      // connections of control clients
}

// standing tells what the supervisor is now.
func (l *lineage) standing(status upgrade.Status) standing {
	l.Helper()
	s := standingOf(l, status.PID)
	for _, listener := range status.Listeners {
		if socket := kernelSocket(l, listener); slices.Contains(links(l, status.PID), socket) {
			s.sockets = append(s.sockets, listener.Name+" "+socket)
		}
	}
	return s
}

func standingOf(tb testing.TB, pid int) standing {
	tb.Helper()
	s := standing{
		args: strings.Split(readProc(tb, pid, "cmdline"), "\x00")[1:], // the first is the program
		env:  environOf(tb, pid), limits: readProc(tb, pid, "limits"),
		descriptors: map[string]int{},
	}
	stat := readProc(tb, pid, "stat")
	s.born = strings.Fields(stat[strings.LastIndexByte(stat, ')'):])[20]
	s.dir, _ = os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	for line := range strings.Lines(readProc(tb, pid, "status")) {
		if strings.HasPrefix(line, "SigIgn:") || strings.HasPrefix(line, "SigCgt:") {
			s.signals = append(s.signals, strings.TrimSpace(line))
		}
	}
	guests := controlConnections(tb)
	for _, link := range links(tb, pid) {
		if slices.Contains(guests, link) {
			s.guests++
		} else {
			s.descriptors[kindOf(link)]++
		}
	}
	return s
}

// controlConnections are the sockets that were accepted from a control socket
// (those of a listener have its path, and are in state 3: net/unix/af_unix.c).
func controlConnections(tb testing.TB) (all []string) {
	tb.Helper()
	for line := range strings.Lines(readProc(tb, os.Getpid(), "net/unix")) {
		if words := strings.Fields(line); len(words) == 8 && words[5] == "03" && strings.HasSuffix(words[7], "/control.sock") {
			all = append(all, "socket:["+words[6]+"]")
		}
	}
	return all
}

// environOf leaves out what tells one process of itself alone.
func environOf(tb testing.TB, pid int) []string {
	tb.Helper()
	all := strings.Split(readProc(tb, pid, "environ"), "\x00")
	all = slices.DeleteFunc(all, func(kv string) bool {
		return strings.HasPrefix(kv, stateEnv+"=") || strings.HasPrefix(kv, upgrade.EnvGeneration+"=") || strings.HasPrefix(kv, orphan.EnvName+"=") || kv == ""
	})
	slices.Sort(all)
	return all
}

func readProc(tb testing.TB, pid int, name string) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// links are what the descriptors of a process are.
func links(tb testing.TB, pid int) []string {
	tb.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil { // it may be closed by now
			all = append(all, link)
		}
	}
	return all
}

// kindOf tells sockets and files of threads by their kind.
func kindOf(link string) string {
	if strings.HasPrefix(link, "/proc/") {
		return strings.TrimSuffix(filepath.Base(link), " (deleted)") // with the thread
	}
	kind, _, _ := strings.Cut(link, "[")
	if rest, ok := strings.CutPrefix(link, "anon_inode:"); ok {
		kind = rest
	}
	return kind
}

// kernelSocket finds the socket of a listener in the kernel's tables, as the link of
// a descriptor.
func kernelSocket(tb testing.TB, l upgrade.ListenerStatus) string {
	tb.Helper()
	table, column := strings.TrimSuffix(l.Network, "4"), 9 // sl local_address rem_address st ...: the inode is the tenth
	end := l.Address
	if l.Network == "unix" {
		column = 6
	} else {
		_, port, _ := strings.Cut(l.Address, ":")
		number, err := strconv.Atoi(port)
		if err != nil {
			tb.Fatal(err)
		}
		end = fmt.Sprintf("0100007F:%04X", number)
	}
	for line := range strings.Lines(readProc(tb, os.Getpid(), filepath.Join("net", table))) {
		words := strings.Fields(line)
		listens := l.Network != "tcp4" && l.Network != "tcp" || len(words) > 3 && words[3] == "0A"
		if len(words) > column && listens && (words[1] == end || words[len(words)-1] == end) {
			return "socket:[" + words[column] + "]"
		}
	}
	tb.Fatalf("there is no socket %+v", l)
	return ""
}

// standsAs waits until the supervisor is what it was, and serves.
func (l *lineage) standsAs(before standing) {
	l.Helper()
	var now standing
	l.poll("all that the supervisor was", func() bool {
		status, err := l.client.Status(l.Context()) // on a connection, as before
		if err != nil {
			return false
		}
		now = l.standing(status)
		if now.guests > before.guests+1 { // idle ones were closed, and this one is new
			return false
		}
		now.guests = before.guests
		return reflect.DeepEqual(before, now)
	}, func() any { return before.changes(now) })
}

// settled is the standing when nothing is open for a moment only.
func (l *lineage) settled() (s standing) {
	l.Helper()
	same := 0
	l.poll("a supervisor at rest", func() bool {
		status, err := l.client.Status(l.Context())
		if err != nil {
			return false
		}
		now := l.standing(status)
		if same++; !reflect.DeepEqual(s.descriptors, now.descriptors) {
			same = 0
		}
		s = now
		return same == 5
	}, func() any { return s })
	return s
}

// changes tells what is different now.
func (s standing) changes(now standing) string {
	text := fmt.Sprintf("gone %q, new %q", without(s.env, now.env), without(now.env, s.env))
	s.env, now.env = nil, nil // most of it is nobody's business
	return fmt.Sprintf("%s\nwas %+v\nis  %+v", text, s, now)
}

func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool { return slices.Contains(some, one) })
}

// replace has another binary take the supervisor's place; "" is the same one.
func (l *lineage) replace(binary string) {
	l.Helper()
	done, err := l.client.Reexec(l.Context(), binary)
	if err != nil || done.To.PID != l.cmd.Process.Pid || done.From.PID != l.cmd.Process.Pid {
		l.Fatalf("replaced: %+v, %v; want pid %d as before", done, err, l.cmd.Process.Pid)
	}
}

// replaced has it replaced so many times, each without a trace.
func (l *lineage) replaced(times int) {
	l.Helper()
	before := l.settled()
	counts := l.counts()
	for range times {
		l.replace("")
		now := l.counts()
		if got, want := now["supervisor_reexecs_total"], counts["supervisor_reexecs_total"]+1; got != want {
			l.Errorf("%v replacements are counted, want %v", got, want)
		}
		l.goOn(counts, now)
		counts = now
		l.standsAs(before)
	}
}

// refuses expects that the supervisor is not replaced, for that reason, and that
// nothing has happened.
func (l *lineage) refuses(binary, reason string) {
	l.Helper()
	before := l.counts()["supervisor_reexecs_total"]
	_, err := l.client.Reexec(l.Context(), binary)
	if refused, ok := errors.AsType[*control.RefusedError](err); !ok || refused.Status != 409 || !strings.Contains(err.Error(), reason) {
		l.Errorf("it is told %v; want a refusal with %q", err, reason)
	}
	if now := l.counts()["supervisor_reexecs_total"]; now != before {
		l.Errorf("%v replacements are counted, want %v", now, before)
	}
}

// counts are the series that can only grow (GET /metrics).
func (l *lineage) counts() map[string]float64 {
	l.Helper()
	counter := regexp.MustCompile(`^(supervisor_\w+_(?:total|count|sum|bucket)(?:\{.*\})?) (\S+)$`)
	all := map[string]float64{}
	for line := range strings.Lines(l.metrics()) {
		if found := counter.FindStringSubmatch(strings.TrimSpace(line)); found != nil {
			value, err := strconv.ParseFloat(found[2], 64)
			if err != nil {
				l.Fatal(err)
			}
			all[found[1]] = value
		}
	}
	return all
}

func (l *lineage) metrics() string {
	l.Helper()
	var text bytes.Buffer
	if err := getTo(&text, l.socket(), "/metrics"); err != nil {
		l.Fatal(err)
	}
	return text.String()
}

// goOn expects that no counter has become less or was lost.
func (l *lineage) goOn(before, now map[string]float64) {
	l.Helper()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if value, there := now[name]; !there || value < before[name] {
			l.Errorf("%s is %v (there: %v), and was %v", name, value, there, before[name])
		}
	}
}

// script makes an executable file of a shell script. Nobody is forked meanwhile
// who would inherit the file open, so that it cannot be executed (ETXTBSY,
// https://go.dev/issue/22315).
func script(tb testing.TB, text string) (path string) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "binary")
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		tb.Fatal(err)
	}
	return path
}

// stopped stops the service in the background; the result waits for it.
func (l *lineage) stopped() (wait func()) {
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.Context()), patience)
	go func() { // joined by wait
		defer cancel()
		ended <- l.client.Stop(ctx, false)
	}()
	return func() {
		l.Helper()
		if err := <-ended; err != nil {
			l.Errorf("cannot stop: %v", err)
		}
		l.hasEnded()
	}
}
