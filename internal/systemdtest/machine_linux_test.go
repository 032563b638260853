package systemdtest

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

const patience = 20 * time.Second

func TestUnitRunsAndLogs(t *testing.T) {
	t.Parallel()
	versions := map[string]int{"bookworm": 252, "trixie": 257}
	Each(t, func(t *testing.T, m *Machine) {
		if suite := filepath.Base(t.Name()); versions[suite] != 0 && m.Version != versions[suite] {
			t.Errorf("systemd %d in %s", m.Version, suite)
		}
		m.WriteUnit(t, "hello.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=sh -c 'echo hello; date >$DIR/done'\n")
		m.WriteUnit(t, "hello.service.d/dir.conf", "[Service]\nEnvironment=DIR="+m.Dir+"\n")
		m.Reload(t)
		m.Systemctl(t, "start", "hello")
		if state := m.Show(t, "hello", "ActiveState"); state != "active" {
			t.Errorf("hello.service is %s", state)
		}
		if _, err := os.Stat(m.Dir + "/done"); err != nil {
			t.Error(err)
		}
		var entry map[string]any
		line := m.Journal(t, "--unit=hello", "--output=json", "_TRANSPORT=stdout")
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["MESSAGE"] != "hello" {
			t.Errorf("the journal has %q: %v", line, err)
		}
		out, err := m.TrySystemctl(t.Context(), "start", "nothing")
		var exit *exec.ExitError
		if !errors.As(err, &exit) || out != "" || !strings.Contains(err.Error(), "nothing.service not found") {
			t.Errorf("a unit that is not there: %q, %v", out, err)
		}
	})
}

func TestSocketActivatedUnitAnswers(t *testing.T) {
	t.Parallel()
	Each(t, func(t *testing.T, m *Machine) {
		program := m.Build(t, "./testdata/answer")
		if again := m.Build(t, "./testdata/answer"); again != program {
			t.Errorf("built %s and %s", program, again)
		}
		m.WriteUnit(t, "answer.service", "[Service]\nExecStart="+program+"\n")
		m.WriteUnit(t, "answer.socket", "[Socket]\nListenStream=127.0.0.1:80\nBacklog=4096\n")
		m.WriteUnit(t, "unix.socket", "[Socket]\nListenStream=/run/answer\nService=answer.service\n")
		m.Reload(t)
		m.Systemctl(t, "start", "answer.socket")
		run, err := load.Start(t.Context(), load.Config{
			Target: "http://127.0.0.1:80", Dial: m.Dial, Duration: 300 * time.Millisecond,
			Traffic: []load.Traffic{{Pattern: load.NewConnection, Rate: 200}, {Pattern: load.KeepAlive, Clients: 4, Rate: 50}},
		})
		if err != nil {
			t.Fatal(err)
		}
		<-run.Done()
		if r := run.Stop(); r.Failed > 0 || r.OK != 120 {
			t.Errorf("%d OK, failed %v: %+v", r.OK, r.FailedByKind, r.Traffic)
		}
		if got, want := m.Processes(t, "answer"), m.Show(t, "answer", "MainPID"); len(got) != 1 || strconv.Itoa(got[0]) != want {
			t.Errorf("processes %v, the main one is %s", got, want)
		}
		// A socket of the same port out here is another one.
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := m.Dial(ctx, "tcp", "127.0.0.1:81"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a port that nobody listens on: %v", err)
		}
	})
}

func TestDialUnix(t *testing.T) {
	t.Parallel()
	Each(t, func(t *testing.T, m *Machine) {
		program := m.Build(t, "./testdata/answer")
		for name, address := range map[string]string{"a": "/run/a", "b": m.Dir + "/b", "c": "@c"} {
			m.WriteUnit(t, name+".socket", "[Socket]\nListenStream="+address+"\n")
			m.WriteUnit(t, name+".service", "[Service]\nExecStart="+program+"\n")
			m.Systemctl(t, "start", name+".socket")
			client := http.Client{Timeout: patience, Transport: &http.Transport{
				DisableKeepAlives: true,
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return m.Dial(ctx, "unix", address)
				},
			}}
			response, err := client.Get("http://x/")
			if err != nil {
				t.Error(err)
				continue
			}
			response.Body.Close()
		}
	})
}

func TestKilledMainProcessIsRestarted(t *testing.T) {
	t.Parallel()
	Each(t, func(t *testing.T, m *Machine) {
		m.WriteUnit(t, "two.service", "[Service]\nExecStart=sh -c 'sleep 1000 & exec sleep 1001'\nRestart=always\nRestartSec=0\n")
		m.Systemctl(t, "start", "two")
		m.Await(t, "two processes", patience, func() bool { return len(m.Processes(t, "two")) == 2 })
		first := m.Show(t, "two", "MainPID")
		pid, _ := strconv.Atoi(first)
		if !slices.Contains(m.Processes(t, "two"), pid) {
			t.Errorf("processes %v, the main one is %d", m.Processes(t, "two"), pid)
		}
		m.Kill(t, pid, syscall.SIGKILL)
		m.Await(t, "a restart", patience, func() bool { return m.Show(t, "two", "NRestarts") == "1" })
		m.Await(t, "two new processes", patience, func() bool {
			pids := m.Processes(t, "two")
			return len(pids) == 2 && !slices.Contains(pids, pid)
		})
		m.Systemctl(t, "stop", "two")
		if left := m.Processes(t, "two"); len(left) > 0 {
			t.Errorf("processes %v after stop", left)
		}
	})
}

func TestCommandEndsWithItsContext(t *testing.T) {
	t.Parallel()
	Each(t, func(t *testing.T, m *Machine) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		cmd := m.Command(ctx, "sh", "-c", "echo $$; exec sleep 1000")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 20)
		n, err := out.Read(line)
		pid := strings.TrimSpace(string(line[:n]))
		if _, statErr := os.Stat(m.Path("/proc/" + pid)); err != nil || statErr != nil {
			t.Errorf("no process %q: %v, %v", pid, err, statErr)
		}
		cancel()
		if err := cmd.Wait(); !errors.Is(err, context.Canceled) && err == nil {
			t.Errorf("the command ended with %v", err)
		}
		if _, err := os.Stat(m.Path("/proc/" + pid)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("process %s is still there: %v", pid, err)
		}
	})
}

func TestMachineIsOutOfReach(t *testing.T) {
	t.Parallel()
	before := somaxconn(t)
	Each(t, func(t *testing.T, m *Machine) {
		inside := func(script string) string {
			out, err := m.Command(t.Context(), "sh", "-c", script).CombinedOutput()
			if err != nil {
				return err.Error() + ": " + string(out)
			}
			return strings.TrimSpace(string(out))
		}
		if said := inside("echo 1000 >/proc/sys/fs/file-max"); !strings.Contains(said, "Read-only") {
			t.Errorf("a setting of the machine can be written: %s", said)
		}
		if said := inside("echo 77 >/proc/sys/net/core/somaxconn && cat /proc/sys/net/core/somaxconn"); said != "77" {
			t.Errorf("a setting of the own network cannot be written: %s", said)
		}
		if said := inside("cat /proc/1/cgroup | grep ^0"); said != "0::/init.scope" {
			t.Errorf("PID 1 is in %s", said)
		}
		if now := somaxconn(t); now != before {
			t.Errorf("the machine's limit of queues was %s and is %s", before, now)
		}
		if failed := m.Systemctl(t, "list-units", "--failed", "--no-legend"); failed != "" {
			t.Errorf("units have failed: %s", failed)
		}
	})
}

func somaxconn(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
