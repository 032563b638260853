package service

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/fdpass"
)

func TestJoinTakesListenersByName(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http"), tcpPort("admin"), "dns=udp://127.0.0.1:0")
	c := f.join(Config{})
	defer c.service.abandon()
	s := c.service
	if got := s.Names(); !slices.Equal(got, []string{"http", "admin", "dns"}) {
		t.Errorf("Names() = %q", got)
	}
	if !s.Supervised() || s.Name() != "test" || s.Generation() != 1 {
		t.Errorf("Supervised %v, Name %q, Generation %d", s.Supervised(), s.Name(), s.Generation())
	}
	want := []string{fdpass.CanPause, fdpass.CanStats, fdpass.CanProbe, fdpass.CanHold}
	if got := c.hello.Capabilities; !slices.Equal(got, want) {
		t.Errorf("capabilities = %q", got)
	}
	for i, name := range []string{"http", "admin"} {
		l, err := s.Listener(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Addr().String(); got != f.sockets[i].Addr {
			t.Errorf("listener %q is at %s, not %s", name, got, f.sockets[i].Addr)
		}
	}
}

func TestListenerErrorNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("web"), "dns=udp://127.0.0.1:0")
	s := f.join(Config{}).service
	defer s.abandon()
	for _, test := range []struct {
		what string
		err  error
		want []string
	}{
		{"absent", second(s.Listener("http")), []string{`"http"`, "there are: web, dns", "--listen http="}},
		{"absent packets", second(s.PacketConn("http")), []string{"there are: web, dns"}},
		{"wrong kind", second(s.Listener("dns")), []string{"datagrams", "PacketConn"}},
		{"wrong kind", second(s.PacketConn("web")), []string{"connections", "Listener"}},
		{"served absent", s.Serve("http", nil), []string{"there are: web, dns"}},
	} {
		if test.err == nil {
			t.Errorf("%s: no error", test.what)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(test.err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", test.what, test.err, want)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestServingTwiceIsAnError(t *testing.T) {
	t.Parallel()
	s := supervise(t, tcpPort("http")).join(Config{}).service
	defer s.abandon()
	if err := s.Serve("http", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve("http", nil); err == nil || !strings.Contains(err.Error(), "served already") {
		t.Errorf("second Serve: %v", err)
	}
}

func TestJoinAloneOpensListeners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	t.Setenv(fdpass.EnvFD, "") // restored afterwards
	os.Unsetenv(fdpass.EnvFD)
	s, err := Join(Config{Listen: []string{tcpPort("http"), "echo=unix://" + path}, Logger: quietLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	if s.Supervised() || s.Generation() != 0 {
		t.Errorf("Supervised %v, Generation %d", s.Supervised(), s.Generation())
	}
	if _, err := s.Listener("web"); err == nil || !strings.Contains(err.Error(), "Config.Listen has none of that name (there are: http, echo)") {
		t.Errorf("absent listener: %v", err)
	}
	if err := s.abandon(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file is left: %v", err)
	}
}

func TestJoinScrubsTheEnvironment(t *testing.T) {
	f := supervise(t, tcpPort("http"))
	parent, file, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	fd, err := duplicate(int(file.Fd()))
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(fdpass.EnvFD, strconv.Itoa(fd))
	offered := make(chan error, 1)
	go func() {
		_, err := fdpass.Offer(parent, fdpass.Welcome{Service: "test", Generation: 7}, -1, f.listeners)
		if err != nil {
			parent.Close()
		}
		offered <- err
	}()
	s, err := Join(Config{Logger: quietLog(t)})
	if err := errors.Join(err, <-offered); err != nil {
		t.Fatal(err)
	}
	defer s.abandon()
	if v, ok := os.LookupEnv(fdpass.EnvFD); ok {
		t.Errorf("%s=%q is still in the environment", fdpass.EnvFD, v)
	}
	if s.Generation() != 7 {
		t.Errorf("Generation() = %d", s.Generation())
	}
}

func TestJoinRefusesWhatCannotBe(t *testing.T) {
	for _, test := range []struct {
		name, env string
		cfg       Config
		want      string
	}{
		{"not a number", "x", Config{}, fdpass.EnvFD},
		{"not a channel", "987654", Config{}, "987654"},
		{"bad spec", "", Config{Listen: []string{"http"}}, "Listen"},
		{"negative", "", Config{IdleTimeout: -time.Second}, "IdleTimeout -1s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(fdpass.EnvFD, test.env)
			if test.env == "" {
				os.Unsetenv(fdpass.EnvFD)
			}
			_, err := Join(test.cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v does not say %q", err, test.want)
			}
		})
	}
}

func TestPassedListenerStaysNonBlocking(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http"))
	for range 3 {
		c := f.start(Config{}, func(s *Service) error { return s.Serve("http", func(_ context.Context, c net.Conn) {}) })
		if !nonBlocking(t, f.listeners[0].FD) {
			t.Fatal("joining made the shared listener blocking")
		}
		c.pause()
		c.resume()
		c.beginDrain(time.Second, false)
		c.drained()
		if !nonBlocking(t, f.listeners[0].FD) {
			t.Fatal("draining made the shared listener blocking")
		}
	}
}
