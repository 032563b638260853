package plot

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"example.com/supervisor/internal/load"
)

// sampleQueue is empty for 30 seconds but for a hill of 150 at 20.5 seconds.
func sampleQueue() Queue {
	q := Queue{Limit: 4096}
	for i := range 600 {
		p := QueuePoint{AtSeconds: float64(i) * 0.05}
		if i >= 410 && i < 413 {
			p.Depth = uint32(50 * (i - 409))
		}
		q.Points = append(q.Points, p)
	}
	return q
}

func TestSVGShowsTheQueue(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := SVG(&b, sampleReport(), Options{Queue: sampleQueue()}); err != nil {
		t.Fatal(err)
	}
	text := textsOf(t, b.Bytes())
	for _, want := range []string{"accept queue (limit 4,096)", "waiting", "150", "new-connection", "keep-alive"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not written in the picture", want)
		}
	}
	if strings.Contains(text, "\nlimit\n") {
		t.Error("a limit far above the queue is in the legend")
	}
	if strings.Count(text, "time (s)") != 1 {
		t.Error("time is not named once")
	}
	if !strings.Contains(b.String(), strings.ToUpper(hex(colourQueue))) {
		t.Error("the queue is not drawn")
	}
	without := count(t, sampleReport(), Options{}, eventColour)
	if with := strings.Count(b.String(), eventColour); with-1 != (without-1)/2*3 { // but for the legend's
		t.Errorf("%d lines of upgrades over three panels, %d over two", with, without)
	}
}

// eventColour is what marks an upgrade that was rolled back.
var eventColour = strings.ToUpper(hex(colourRolledBack))

func count(t *testing.T, report load.Report, options Options, what string) int {
	t.Helper()
	var b bytes.Buffer
	if err := SVG(&b, report, options); err != nil {
		t.Fatal(err)
	}
	return strings.Count(b.String(), what)
}

func TestSVGWithoutAQueueHasNoPanelForIt(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := SVG(&b, sampleReport(), Options{Queue: Queue{Limit: 4096}}); err != nil {
		t.Fatal(err)
	}
	if text := textsOf(t, b.Bytes()); strings.Contains(text, "queue") || strings.Contains(text, "waiting") {
		t.Error(text)
	}
}

func TestLimitIsDrawnWhereTheQueueCameNearIt(t *testing.T) {
	t.Parallel()
	for limit, want := range map[uint32]bool{0: false, 128: true, 150: true, 600: true, 601: false, 4096: false} {
		q := sampleQueue()
		q.Limit = limit
		var b bytes.Buffer
		if err := SVG(&b, sampleReport(), Options{Queue: q}); err != nil {
			t.Fatal(err)
		}
		text := textsOf(t, b.Bytes())
		if strings.Contains(text, "\nlimit\n") != want {
			t.Errorf("limit %d is drawn: %v", limit, !want)
		}
		if named := strings.Contains(text, "(limit "+strconv.Itoa(int(limit))+")"); named != (limit > 0 && limit < 1000) {
			t.Errorf("limit %d is named: %v", limit, named)
		}
	}
}

// TestSVGOfOddQueues: whatever a short or a broken run leaves can be drawn.
func TestSVGOfOddQueues(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]Queue{
		"one point":         {Points: []QueuePoint{{}}},
		"at one moment":     {Points: []QueuePoint{{AtSeconds: 1}, {AtSeconds: 1, Depth: 3}}},
		"after the end":     {Limit: 1, Points: []QueuePoint{{AtSeconds: 31, Depth: 9}, {AtSeconds: 32}}},
		"as deep as can be": {Limit: 1<<32 - 1, Points: []QueuePoint{{}, {AtSeconds: 2, Depth: 1<<32 - 1}}},
	} {
		var b bytes.Buffer
		if err := SVG(&b, sampleReport(), Options{Queue: q}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%s: a coordinate is not a number", name)
		}
	}
}
