package health

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What was seen last must not pass for what is there now.
func TestLookThatFailsIsNoObservation(t *testing.T) {
	t.Parallel()
	tcp, _ := listenRaw(t, 8)
	local := listen(t, 0, &unix.SockaddrUnix{}, 8)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "tcp", FD: tcp}, {Name: "local", FD: local}}, Idle: time.Hour})
	var last time.Duration
	follow := func(looks int, see func(View)) {
		t.Helper()
		err := m.Follow(t.Context(), time.Millisecond, func(v View) bool {
			see(v)
			looks--
			return looks == 0
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	follow(1, func(v View) {
		last = v.At
		m.sampler.diag.netns++ // from now on it fails to ask
		m.sampler.diag.Close()
		m.sampler.diag.conn = nil
	})
	connect(t, addressOf(t, local))
	follow(3, func(v View) {
		if o := v.Observations; v.At <= last || o[0].At != v.At || o[1].At != last {
			t.Errorf("last at %v: shown at %v: %+v", last, v.At, o)
		}
	})
	if f := m.Figures()[1]; f.Observation.At != last {
		t.Errorf("figures of %v, want those of %v", f.Observation.At, last)
	}
}
