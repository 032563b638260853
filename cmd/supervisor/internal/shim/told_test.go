package shim

import (
	"log/slog"
	"syscall"
	"testing"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/health"
)

// TestProgramThatIsToldTwiceHasCut what it had open at the last look, whoever told it:
// a supervisor that ends a candidate quickly sends SIGTERM beside its order to drain.
func TestProgramThatIsToldTwiceHasCut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		signals []syscall.Signal
		cut     int
	}{
		"once":                   {nil, 0},
		"by SIGTERM too":         {[]syscall.Signal{syscall.SIGTERM}, 3},
		"and asked for its logs": {[]syscall.Signal{syscall.SIGHUP}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			supervisor, file, err := fdpass.Pair()
			if err != nil {
				t.Fatal(err)
			}
			defer supervisor.Close()
			defer file.Close()
			fd, err := syscall.Dup(int(file.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			conn, err := fdpass.NewConn(fd)
			if err != nil {
				t.Fatal(err)
			}
			s := &shim{log: slog.New(slog.DiscardHandler), program: &program{reaped: true}, draining: true, sent: 1, told: 1, orders: []uint64{7},
				listeners: []fdpass.Listener{{Name: "http"}}, open: []health.Connections{{Open: 3, Known: true}}}
			s.session = &session{conn: conn, log: s.log, closed: make(chan struct{})}
			defer s.session.close()
			for _, sig := range c.signals {
				s.pass(sig)
			}
			s.hasEnded(0) // exit status 0
			m, _, err := supervisor.Receive()
			if want := (fdpass.Drained{ID: 7, Cut: c.cut}); err != nil || m != fdpass.Message(want) {
				t.Errorf("said %#v, %v, want %#v", m, err, want)
			}
		})
	}
}
