package units

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/load"
)

// TestRestartKeepsClientsWaiting: with a socket unit "systemctl restart" is a
// fresh start, for which clients wait in the queue.
func TestRestartKeepsClientsWaiting(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		run := s.load(t, load.Traffic{Pattern: load.InFlight, Clients: 2, Path: "/slow?ms=200"})
		served(t, s, run)
		before := s.mainPID(t)
		s.Systemctl(t, "restart", "web.service")
		s.active(t, 1)
		if now := s.mainPID(t); now == before {
			t.Errorf("the supervisor is still process %d", now)
		}
		s.unharmed(t, run)
		s.stop(t, "web.socket")
	})
}

// TestRestartWithoutASocketUnit: the service manager's descriptor store has the
// listener meanwhile, so that nobody is refused.
func TestRestartWithoutASocketUnit(t *testing.T) {
	eachSite(t, []string{"--no-socket"}, func(t *testing.T, s site) {
		s.stored(t, "1")
		run := s.load(t)
		served(t, s, run)
		began := time.Now()
		s.Systemctl(t, "restart", "web.service")
		t.Logf("systemd %d: restarted in %d ms", s.Version, time.Since(began).Milliseconds())
		s.active(t, 1)
		s.stored(t, "1")
		s.unharmed(t, run)
		s.stop(t)
		if conn, err := s.Dial(t.Context(), "tcp", address); err == nil {
			conn.Close()
			t.Error("somebody listens after the stop")
		}
	})
}

// TestRestartWithoutASocketUnitOfAFile: the file of a Unix socket stays while the
// service manager has the socket in store, so that clients wait there.
func TestRestartWithoutASocketUnitOfAFile(t *testing.T) {
	const path = "/var/lib/supervisor/web/web.sock"
	each(t, func(t *testing.T, m machine) {
		s := site{m}
		s.prepare(t)
		s.install(t, "web", "--no-socket", "--listen", "http=unix://"+path, "--bake", "200ms", "--", current)
		s.Systemctl(t, "start", "web.service")
		traffic := load.Traffic{Pattern: load.NewConnection, Rate: 50, Target: "unix://" + path}
		run := s.only(t, traffic)
		for range 2 {
			s.stored(t, "1")
			served(t, s, run)
			s.Systemctl(t, "restart", "web.service")
			s.active(t, 1)
		}
		served(t, s, run)
		before := s.active(t, 1)
		s.Kill(t, before.PID, syscall.SIGKILL) // the file stays
		s.adopted(t, before, 1)
		s.unharmed(t, run)
		s.stop(t)
	})
}

// stored waits until the service manager keeps so many descriptors.
func (s site) stored(t *testing.T, want string) {
	t.Helper()
	s.Await(t, want+" descriptors in the store", patience, func() bool {
		return s.Show(t, "web.service", "NFileDescriptorStore") == want
	})
}

// TestStopRightAfterACrash: what a killed supervisor left ends with the service,
// whether or not the next one has come.
func TestStopRightAfterACrash(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s site) {
		for _, later := range []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond} {
			s.Systemctl(t, "start", "web.service")
			s.active(t, 1)
			group := s.group(t)
			s.Kill(t, s.mainPID(t), syscall.SIGKILL)
			<-time.After(later)
			s.Systemctl(t, "stop", "web.service", "web.socket")
			t.Logf("systemd %d: stopped %v after the crash", s.Version, later)
			s.nothingLeft(t, group)
		}
	})
}

// TestSweepAfterAStopThatTookTooLong: systemd kills a supervisor that waits for
// a generation for too long, and "supervisor sweep" the generation.
func TestSweepAfterAStopThatTookTooLong(t *testing.T) {
	eachSite(t, []string{"--drain-timeout", "1m"}, func(t *testing.T, s site) {
		// One that cannot ask for more time.
		s.WriteUnit(t, "web.service.d/stop.conf", "[Service]\nType=exec\nUnsetEnvironment=NOTIFY_SOCKET\nTimeoutStopSec=3s\n")
		s.Reload(t)
		s.Systemctl(t, "restart", "web.service")
		s.active(t, 1)
		s.release(t, "setsid sleep 1000 &\nexec "+misbehave+" -ignore-term")
		s.Systemctl(t, "reload", "web.service")
		s.active(t, 2)
		s.slow(t, time.Minute)
		s.stop(t, "web.socket")
		if result := s.Show(t, "web.service", "Result"); result != "timeout" {
			t.Errorf("the result is %s", result)
		}
	})
}

// TestCrashInTheMidstOfAStop: systemd does not start a supervisor again that was
// told to stop, so "supervisor sweep" ends what it left.
func TestCrashInTheMidstOfAStop(t *testing.T) {
	eachSite(t, []string{"--drain-timeout", "1m"}, func(t *testing.T, s site) {
		s.release(t, "setsid sleep 1000 &\nexec "+misbehave+" -ignore-term")
		s.Systemctl(t, "reload", "web.service")
		s.active(t, 2)
		s.slow(t, time.Minute)
		group := s.group(t)
		s.Systemctl(t, "stop", "--no-block", "web.service", "web.socket")
		s.await(t, "a drain", func(st status) bool { return len(st.in("draining")) == 1 })
		s.Kill(t, s.mainPID(t), syscall.SIGKILL)
		s.nothingLeft(t, group)
	})
}

// slow sends a request that takes a time, and so keeps a drain going. What
// becomes of it is in the channel.
func (s site) slow(t *testing.T, takes time.Duration) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	sent, answered := make(chan struct{}), make(chan error, 1)
	client := &http.Client{Transport: &http.Transport{DialContext: s.Dial, DisableKeepAlives: true}}
	var asking sync.WaitGroup
	asking.Go(func() {
		ctx := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }})
		body, err := get(ctx, client, fmt.Sprintf("http://%s/slow?ms=%d", address, takes.Milliseconds()))
		if err == nil && body != "slow\n" {
			err = fmt.Errorf("the answer is %q", body)
		}
		answered <- err
	})
	t.Cleanup(func() { cancel(); asking.Wait() })
	select {
	case <-sent:
	case err := <-answered:
		t.Fatal(err)
	}
	return answered
}
