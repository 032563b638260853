package figures

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/queue"
)

// told is a supervisor that tells these snapshots, then waits for ctx, or ends
// with failed if that is set.
type told struct {
	snapshots []queue.Snapshot
	all       chan struct{} // closed when all are told
	ends      bool
	failed    error
}

func (w told) WatchQueue(ctx context.Context, _ time.Duration, each func([]byte, queue.Snapshot) error) error {
	for _, s := range w.snapshots {
		if err := each(nil, s); err != nil {
			return err
		}
	}
	close(w.all)
	if w.ends {
		return w.failed
	}
	<-ctx.Done()
	return ctx.Err()
}

const listenerName = "http"

func wanted(name string) bool { return name == listenerName }

// seen is a snapshot of a time at which depth connections waited, and deepest
// since the one before.
func seen(at time.Time, depth, deepest uint32, drops uint64) queue.Snapshot {
	limit := uint32(4096)
	l := queue.Listener{Name: listenerName, MaxDepth: &deepest, Queue: queue.Queue{Depth: &depth, Limit: &limit, Drops: &drops}}
	return queue.Snapshot{Time: at, Listeners: []queue.Listener{{Name: "other"}, l}}
}

func TestTapeRecordsTheQueue(t *testing.T) {
	t.Parallel()
	started := time.Now()
	w := told{all: make(chan struct{}), snapshots: []queue.Snapshot{
		{Time: started, Listeners: []queue.Listener{{Name: listenerName}}}, // nothing is known yet
		seen(started.Add(-time.Millisecond), 0, 0, 0),
		seen(started.Add(20*time.Millisecond), 3, 7, 2),
		seen(started.Add(40*time.Millisecond), 9, 8, 2),
	}}
	tape := Record(t.Context(), w, wanted, started)
	<-w.all
	if err := tape.Stop(); err != nil {
		t.Fatal(err)
	}
	want := []look{{0, 0}, {20 * time.Millisecond, 7}, {40 * time.Millisecond, 9}}
	if len(tape.looks) != len(want) || tape.looks[1] != want[1] || tape.looks[2] != want[2] || tape.looks[0] != want[0] {
		t.Errorf("recorded %v, want %v", tape.looks, want)
	}
	if tape.limit != 4096 || tape.drops != 2 {
		t.Errorf("limit %d, %d drops", tape.limit, tape.drops)
	}
}

func TestTapeSaysWhyItIsNotComplete(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		w    told
		want string
	}{
		"refused":       {told{ends: true, failed: errors.New("does not look")}, "cannot record the accept queue: does not look"},
		"ended early":   {told{ends: true, snapshots: []queue.Snapshot{seen(now, 1, 1, 0)}}, "the supervisor said no more"},
		"nothing known": {told{snapshots: []queue.Snapshot{{Time: now}}}, "did not tell its depth"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.w.all = make(chan struct{})
			tape := Record(t.Context(), test.w, wanted, now)
			<-test.w.all
			if test.w.ends {
				<-tape.ended
			}
			if err := tape.Stop(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

func TestPointsKeepThePeaks(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	var looks []look
	for i := range 5000 {
		looks = append(looks, look{time.Duration(i) * 20 * ms, 0})
	}
	looks[3000].depth, looks[3001].depth = 130, 131
	got := points(looks, 500, 20*ms)
	var deepest uint32
	for i, p := range got {
		deepest = max(deepest, p.Depth)
		if i > 0 && p.Seconds <= got[i-1].Seconds {
			t.Fatalf("point %d is at %v s, the one before at %v s", i, p.Seconds, got[i-1].Seconds)
		}
		if near := p.Seconds > 59 && p.Seconds < 61; p.Depth > 0 && !near {
			t.Errorf("%d waited at %v s", p.Depth, p.Seconds)
		}
	}
	if deepest != 131 || len(got) > 500 {
		t.Errorf("%d points, the deepest %d", len(got), deepest)
	}
}

func TestPointsOfOddTapes(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		looks []look
		want  []uint32
	}{
		"none":      {nil, nil},
		"one":       {[]look{{0, 5}}, []uint32{5}},
		"late":      {[]look{{45 * ms, 5}}, []uint32{0, 0, 5}},
		"a gap":     {[]look{{0, 1}, {65 * ms, 7}}, []uint32{7, 7, 7, 7}}, // it may have been all the time
		"backwards": {[]look{{25 * ms, 1}, {5 * ms, 2}, {45 * ms, 3}}, []uint32{3, 3, 3}},
	} {
		got := points(test.looks, 500, 20*ms)
		if len(got) != len(test.want) {
			t.Errorf("%s: %v", name, got)
			continue
		}
		for i, p := range got {
			if p.Depth != test.want[i] {
				t.Errorf("%s: %v, want depths %v", name, got, test.want)
			}
		}
	}
}
