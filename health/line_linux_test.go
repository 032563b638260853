package health

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHeadIsFollowedWithoutLookingAnew: what one dive brought tells of the head
// for as long as one of those connections waits.
func TestHeadIsFollowedWithoutLookingAnew(t *testing.T) {
	t.Parallel()
	fd, address := listenRaw(t, 64)
	s, err := NewSampler([]int{fd})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	began := coarse(t)
	for range 5 { // pairs, whose ages differ
		connectTo(t, address, 2)
		<-time.After(2 * jiffy(t))
	}
	accept := func(n int) {
		for range n {
			c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(c) })
		}
	}
	into := make([]Waiting, 1)
	if _, err := s.Waiting(into, []bool{true}); err != nil || into[0].Count != 10 {
		t.Fatalf("%+v: %v", into, err)
	}
	l := s.line(0)
	for _, step := range []struct{ accept, least, most int }{{0, 9, 10}, {2, 7, 8}, {4, 3, 4}, {3, 0, 2}, {1, 0, 0}} {
		accept(step.accept)
		var age time.Duration
		var ok bool
		l, age, ok, err = s.head(l)
		if err != nil || len(l) < step.least || len(l) > step.most || ok != (len(l) > 0) {
			t.Errorf("after %d more were accepted %d remain, %v: %v", step.accept, len(l), ok, err)
		}
		if ok && (age < 0 || age > coarse(t)-began+jiffy(t)) {
			t.Errorf("the head is %v old, and all began %v ago", age, coarse(t)-began)
		}
	}
	if _, waits, err := s.diag.age(connectionID{family: unix.AF_INET}); waits || err != nil {
		t.Errorf("a connection that never was: %v, %v", waits, err)
	}
}

// TestClosedConnectionDoesNotWait: a connection that the service has closed and
// its client has not belongs to no file, as one that waits does.
func TestClosedConnectionDoesNotWait(t *testing.T) {
	t.Parallel()
	fd, address := listenRaw(t, 64)
	s, err := NewSampler([]int{fd})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	connectTo(t, address, 2)
	if _, err := s.Waiting(make([]Waiting, 1), []bool{true}); err != nil {
		t.Fatal(err)
	}
	l := s.line(0)
	for range 2 {
		c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Close(c); err != nil {
			t.Fatal(err)
		}
	}
	if l, age, ok, err := s.head(l); ok || err != nil {
		t.Errorf("%d still wait, the oldest for %v: %v", len(l), age, err)
	}
}

func BenchmarkHead(b *testing.B) {
	fd, address := listenRaw(b, 64)
	s, err := NewSampler([]int{fd})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	connectTo(b, address, 50)
	into := make([]Waiting, 1)
	if _, err := s.Waiting(into, []bool{true}); err != nil {
		b.Fatal(err)
	}
	l := s.line(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok, err := s.head(l); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
