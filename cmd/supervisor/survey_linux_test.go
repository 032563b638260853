package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/health"
	"golang.org/x/sys/unix"
)

// listenShort listens at a TCP address with a queue of so many, and one more.
func listenShort(t *testing.T, address string, limit int) net.Listener {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		outer := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		if outer != nil {
			return outer
		}
		return err
	}}
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), "tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), limit) })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// surveyed is what the command says of an address.
func surveyed(t *testing.T, address string) []queue.Surveyed {
	t.Helper()
	cmd := exec.Command("supervisor", "queue", "--all", "--json")
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var s queue.Survey
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(s.Listeners, func(l queue.Surveyed) bool { return l.Address != address })
}

func TestSurveySeesAFullQueueThatNobodyEmpties(t *testing.T) {
	t.Parallel()
	l := listenShort(t, "127.0.0.1:0", 3)
	for range 4 {
		conn, err := net.DialTimeout("tcp4", l.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	var text []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		found := surveyed(t, l.Addr().String())
		text, _ = json.Marshal(found)
		if len(found) == 1 && inTrouble(found[0], "full") && inTrouble(found[0], health.ReasonStanding) {
			if f := found[0]; *f.Depth != 4 || *f.Limit != 3 || *f.Fill != 1 || *f.OldestSeconds > patience.Seconds() || f.UID != uint32(os.Getuid()) {
				t.Errorf("shown as %s", text)
			}
			return
		}
	}
	t.Errorf("not seen to be full and standing; last:\n%s", text)
}

func inTrouble(l queue.Surveyed, reason health.Reason) bool {
	return slices.ContainsFunc(l.Trouble, func(x queue.Trouble) bool { return x.Reason == reason })
}

func TestSurveySeesAGroup(t *testing.T) {
	t.Parallel()
	first := listenShort(t, "127.0.0.1:0", 8)
	listenShort(t, first.Addr().String(), 16)
	conn, err := net.Dial("tcp4", first.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	found := surveyed(t, first.Addr().String())
	if len(found) != 2 {
		t.Fatalf("%d sockets, want 2: %+v", len(found), found)
	}
	for _, f := range found {
		if f.GroupSize != 2 || f.GroupUniformity == nil || *f.GroupUniformity != 0.5 {
			t.Errorf("%+v", f)
		}
	}
}

func TestSurveyAgreesWithSS(t *testing.T) {
	t.Parallel()
	l := listenShort(t, "127.0.0.1:0", 7)
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text, err := exec.Command("ss", "-Hlnt", "src", l.Addr().String()).Output()
	if err != nil {
		t.Skipf("no ss here: %v", err)
	}
	columns := strings.Fields(string(text)) // State Recv-Q Send-Q Local Peer
	if f := surveyed(t, l.Addr().String()); len(columns) < 4 || len(f) != 1 || columns[1] != "1" || *f[0].Depth != 1 || columns[2] != "7" || *f[0].Limit != 7 {
		t.Errorf("ss says %q, the survey %+v", text, f)
	}
}

func TestOnlyAProcessOfAnotherNetworkIsLeftOut(t *testing.T) {
	t.Parallel()
	if !sharesNetwork(os.Getpid()) || !sharesNetwork(0) {
		t.Error("we are not in our own network namespace, or what cannot be seen is left out")
	}
}
