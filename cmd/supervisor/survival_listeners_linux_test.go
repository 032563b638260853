package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/service"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// trio is a service that listens on TCP as "http", on a Unix socket as "local"
// and on UDP as "udp".
func trio() {
	if err := runTrio(); err != nil {
		fmt.Fprintln(os.Stderr, "trio:", err)
		os.Exit(1)
	}
}

func runTrio() error {
	s, err := service.Join(service.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	mux.HandleFunc("GET /slow", func(_ http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		<-time.After(time.Duration(ms) * time.Millisecond)
	})
	for _, name := range []string{"http", "local"} {
		if err := s.ServeHTTP(name, &http.Server{Handler: mux}); err != nil {
			return err
		}
	}
	conn, err := s.PacketConn("udp")
	if err != nil {
		return err
	}
	var echoes sync.WaitGroup
	echoes.Go(func() { echo(conn) })
	err = s.Run(context.Background())
	echoes.Wait()
	return err
}

// TestKilledSupervisorGetsEveryListenerBack kills it twice, in the bake and idle,
// with listeners of three kinds: they are the same sockets afterwards.
func TestKilledSupervisorGetsEveryListenerBack(t *testing.T) {
	t.Parallel()
	l := found(t, []string{"trio"}, "--bake", "1500ms", "--settle", "50ms",
		"--listen", "http=tcp://127.0.0.1:0", "--listen", "local=unix://$DIR/local.sock", "--listen", "udp=udp://127.0.0.1:0")
	status := l.serves()
	run := l.traffic("http://"+status.Listeners[0].Address, "unix://"+l.dir+"/local.sock")
	datagrams := sendDatagrams(t, status.Listeners[2].Address)
	l.answered(run, 50)
	asked := l.upgrade([]string{"trio"}, true)
	l.await("the bake", inPhase(upgrade.PhaseBake))
	l.succeed()
	asked.verdict(upgrade.RolledBack, "the supervisor was killed during the bake")
	l.serves()
	l.answered(run, 50)
	l.kill()
	l.answered(run, 50)
	l.start()
	again := l.serves()
	for i, now := range again.Listeners {
		if was := status.Listeners[i]; now.Name != was.Name || now.Address != was.Address {
			t.Errorf("listener %+v was %+v", now, was)
		}
	}
	l.upgradesOn("trio")
	l.answered(run, 50)
	if lost, all := datagrams(); lost > 0 || all == 0 {
		t.Errorf("%d of %d datagrams were not answered", lost, all)
	} else {
		t.Logf("%d datagrams, each answered", all)
	}
	l.noneFailed(run)
	l.stop()
}

// TestChangedListenersWaitForAnUpgrade: --listen was changed when a killed supervisor
// is started again. The generation that serves on has the listener as it was and
// no other, so that stays where it is, and what is new is opened by the next
// upgrade, which is said.
func TestChangedListenersWaitForAnUpgrade(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	l := found(t, []string{program}, "--bake", "100ms", "--settle", "20ms")
	status := l.serves()
	was := status.Listeners[0].Address
	run := l.traffic("http://" + was)
	l.answered(run, 20)
	l.kill()
	i := slices.Index(l.args, "--listen")
	l.args[i+1] = "http=tcp://127.0.0.1:" + freePort(t) + "?backlog=100"
	l.args = slices.Insert(l.args, i, "--listen", "new=tcp://127.0.0.1:0")
	l.start()
	status = l.serves()
	address := map[string]string{}
	for _, s := range status.Listeners {
		address[s.Name] = s.Address
	}
	if address["http"] != was {
		t.Errorf("http listens at %s, and its generation at %s", address["http"], was)
	}
	if _, opened := address["new"]; opened {
		t.Errorf("what nobody serves is open: %v", address)
	}
	if log, want := l.logged(), "these stay until the next upgrade"; !strings.Contains(log, want) {
		t.Errorf("the log does not say %q:\n%s", want, log)
	}
	l.answered(run, 20)
	l.noneFailed(run)
	status = l.upgradesOn(program)
	for _, s := range status.Listeners {
		if s.Name == "http" && s.Address == was {
			t.Errorf("http is at %s still", was)
		}
	}
	if len(status.Listeners) != 2 {
		t.Errorf("the listeners are %+v", status.Listeners)
	}
	l.stop()
}

// sendDatagrams sends one datagram after the other, each when the one before was
// answered or is lost, until its result is called, which tells how it went.
func sendDatagrams(t *testing.T, address string) (end func() (lost, all int)) {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	var sending sync.WaitGroup
	stop := make(chan struct{})
	lost, all := 0, 0
	sending.Go(func() {
		answer := make([]byte, 100)
		for tick := time.Tick(5 * time.Millisecond); ; all++ {
			select {
			case <-tick:
			case <-stop:
				return
			}
			text := strconv.Itoa(all)
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Write([]byte(text)); err != nil {
				lost++
			} else if n, err := conn.Read(answer); err != nil || string(answer[:n]) != text {
				lost++
			}
		}
	})
	once := sync.OnceFunc(func() {
		close(stop)
		sending.Wait()
		_ = conn.Close()
	})
	t.Cleanup(once)
	return func() (int, int) {
		once()
		return lost, all
	}
}

// signal sends a signal to a process that is not reaped by others meanwhile.
func signalTo(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := unix.PidfdSendSignal(pidfd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		t.Fatal(err)
	}
}
