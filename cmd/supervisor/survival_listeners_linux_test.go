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
	var echo sync.WaitGroup
	echo.Go(func() {
		defer conn.Close()
		for packet := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(packet[:n], from)
		}
	})
	err = s.Run(context.Background())
	echo.Wait()
	return err
}

// TestKilledSupervisorGetsEveryListenerBack kills it twice, in the bake and idle,
// with listeners of three kinds: they are the same sockets afterwards.
func TestKilledSupervisorGetsEveryListenerBack(t *testing.T) {
	t.Parallel()
	l := found(t, []string{"trio"}, "--bake", "500ms", "--settle", "50ms",
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

// TestListenerThatWasChangedBeforeTheCrash: the generation that is adopted cannot
// accept on it, which the log says; the next one does.
func TestListenerThatWasChangedBeforeTheCrash(t *testing.T) {
	t.Parallel()
	program := misbehaveIn(t)
	port, err := findPort()
	if err != nil {
		t.Fatal(err)
	}
	l := found(t, []string{program}, "--listen", "http=tcp://127.0.0.1:0")
	l.serves()
	l.succeed()
	l.serves()
	if strings.Contains(l.logged(), "until the next upgrade") {
		t.Error("it warns of nothing")
	}
	l.kill()
	address := "127.0.0.1:" + port
	for i, a := range l.args {
		l.args[i] = strings.ReplaceAll(a, "127.0.0.1:0", address)
	}
	l.start()
	l.serves()
	for _, want := range []string{"nobody accepts there until the next upgrade\" listener=http address=" + address, "not in the configuration any more, until the next upgrade\" listener=http address="} {
		if !strings.Contains(l.logged(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	l.upgradesOn(program)
	run := l.traffic("http://" + address)
	l.answered(run, 5)
	l.noneFailed(run)
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
