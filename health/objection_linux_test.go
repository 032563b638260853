package health

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestObjectionToAQueueThatStoodIsOver(t *testing.T) {
	t.Parallel()
	fd, address := listenRaw(t, 8)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd}}})
	connectTo(t, address, 1)
	if err := m.Follow(t.Context(), time.Millisecond, func(View) bool { _, stands := m.recent.Objection(); return stands }); err != nil {
		t.Fatal(err)
	}
	if f, objects := m.Objection(t.Context()); !objects || f.Reason != ReasonStanding {
		t.Errorf("objection to a queue that stands: %v %v", f, objects)
	}
	c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	if f, objects := m.Objection(t.Context()); objects { // the last look saw it standing
		t.Errorf("objection to an empty queue: %v", f)
	}
}

// One look at a connection that has waited too long does not tell whether the
// queue stands.
func TestObjectionToAQueueThatHasJustBegunToStand(t *testing.T) {
	t.Parallel()
	fd, address := listenRaw(t, 8)
	limits := Limits{Interval: 400 * time.Millisecond}
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd, Limits: limits}}, Idle: time.Hour})
	connectTo(t, address, 1)
	waits := func(v View) bool { return v.Observations[0].Head >= 20*time.Millisecond }
	if err := m.Follow(t.Context(), time.Millisecond, waits); err != nil {
		t.Fatal(err)
	}
	if f, objects := m.Objection(t.Context()); !objects || f.Reason != ReasonStanding || f.Observation.Head < 300*time.Millisecond {
		t.Errorf("objection to a queue from which nobody takes: %v %v", f, objects)
	}
}

func TestObjectionToQueuesThatAreOffIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	fd, address := listenRaw(t, 8)
	m := monitorOf(t, MonitorConfig{Listeners: []Listener{{Name: "a", FD: fd, Limits: Limits{Off: true, Interval: time.Hour}}}, Idle: time.Hour})
	connectTo(t, address, 1)
	if f, objects := m.Objection(t.Context()); objects {
		t.Errorf("objection to a queue that is not judged: %v", f)
	}
}
