package health

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// script is a Probe that answers from a list, the last answer for ever.
type script struct {
	answers []error
	asked   []time.Duration
	began   time.Time
}

func newScript(answers ...error) *script { return &script{answers: answers, began: time.Now()} }

func (s *script) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.asked = append(s.asked, time.Since(s.began))
	answer := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	return answer
}

var errSick = errors.New("sick")

func TestPollAsksUntilAllIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(errSick, errSick, nil)
		if err := Poll(t.Context(), s, time.Second); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(s.began); got != 2*time.Second || len(s.asked) != 3 {
			t.Errorf("took %v and asked at %v, want two pauses of a second", got, s.asked)
		}
	})
}

func TestPollTellsTheLastReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2500*time.Millisecond, errors.New("no patience"))
		defer cancel()
		err := Poll(ctx, newScript(errors.New("first"), errSick), time.Second)
		if !errors.Is(err, errSick) || !strings.Contains(err.Error(), "no patience") || strings.Contains(err.Error(), "first") {
			t.Errorf("error %v, want the cause and the last reason", err)
		}
	})
}

func TestPollOfACancelledContextIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Poll(ctx, newScript(errSick), time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestWatchWantsFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(nil, errSick, errSick, nil, errSick, errSick, errSick, nil)
		err := Watch(t.Context(), s, time.Second, 3)
		if !errors.Is(err, errSick) || !strings.Contains(err.Error(), "3 times in a row") {
			t.Errorf("error %v, want the reason and its number", err)
		}
		if len(s.asked) != 7 {
			t.Errorf("asked %d times, want 7", len(s.asked))
		}
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := newScript(nil)
		if err := Watch(ctx, s, time.Second, 1); err != nil {
			t.Errorf("error %v, want nil: nothing was wrong", err)
		}
		if got := time.Since(s.began); got != time.Minute {
			t.Errorf("ended after %v, want a minute", got)
		}
	})
}

func TestSettleWantsTheWholeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(errSick, nil, nil, errSick, nil)
		if err := Settle(t.Context(), s, time.Second, 2500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		// Well from 4 s on; the window ends between two probes.
		if got := time.Since(s.began); got != 6500*time.Millisecond {
			t.Errorf("settled after %v, want 6.5s", got)
		}
	})
}

func TestSettleWithoutAWindowWantsOneYes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(nil)
		if err := Settle(t.Context(), s, 0, 0); err != nil || len(s.asked) != 1 || time.Since(s.began) != 0 {
			t.Errorf("error %v after %v and %d probes, want nil at once", err, time.Since(s.began), len(s.asked))
		}
	})
}

func TestSettleTellsTheLastReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		flapping := &flapping{}
		err := Settle(ctx, flapping, time.Second, 5*time.Second)
		if !errors.Is(err, errSick) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the deadline and the last reason", err)
		}
	})
}

// flapping is well two times out of three.
type flapping struct{ n int }

func (f *flapping) Check(context.Context) error {
	if f.n++; f.n%3 == 0 {
		return errSick
	}
	return nil
}

func TestAllTellsTheFirstReason(t *testing.T) {
	other := errors.New("other")
	if err := (All{newScript(nil), newScript(errSick), newScript(other)}).Check(t.Context()); !errors.Is(err, errSick) {
		t.Errorf("error %v, want %v", err, errSick)
	}
	if err := (All{}).Check(t.Context()); err != nil {
		t.Errorf("nothing to ask: error %v, want nil", err)
	}
}
