package health

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel does not tell what waits for a Unix socket: to ask all the same
// would wake the Monitor once more with each of its looks.
func TestUnixQueuesAreNotLookedIntoInVain(t *testing.T) {
	t.Parallel()
	fd := listen(t, 0, &unix.SockaddrUnix{}, 8)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd}}, Idle: time.Hour})
	connect(t, addressOf(t, fd))
	looks := 0
	err := m.Follow(t.Context(), time.Millisecond, func(v View) bool {
		if o := v.Observations[0]; o.Depth != 1 || o.HeadKnown {
			t.Errorf("look %d: %+v", looks, o)
		}
		looks++
		return looks == 20
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if n := m.diver.cost.n; n != 0 {
		t.Errorf("looked into the queue %d times", n)
	}
}
