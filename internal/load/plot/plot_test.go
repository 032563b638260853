package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"example.com/supervisor/internal/load"
)

// sampleReport has two open loops of 30 seconds with 20 events, and nothing
// answered from 20 to 20.5 seconds.
func sampleReport() load.Report {
	report := load.Report{DurationSeconds: 30, BucketSeconds: 0.1, Requests: 61234, Failed: 3}
	for _, name := range []string{"new-connection", "keep-alive", "slow"} {
		t := load.TrafficReport{Name: name, Pattern: load.NewConnection}
		if name == "slow" {
			t.Pattern = load.InFlight
		}
		for i := range 300 {
			p := load.Point{AtSeconds: float64(i) / 10, OK: 100, P50MS: 0.25, P99MS: 0.5 + float64(i%3)/4, MaxMS: 1 + float64(i%7)}
			if i >= 200 && i < 205 {
				p.OK, p.Failed = 0, 3
			}
			t.Failed += uint64(p.Failed)
			t.Series = append(t.Series, p)
		}
		report.Traffic = append(report.Traffic, t)
	}
	for i := range 20 {
		e := load.EventReport{AtSeconds: 1 + float64(i)*1.4, Verdict: "committed"}
		switch i {
		case 8:
			e.Verdict = "aborted"
		case 14:
			e.Verdict = "rolled-back"
		}
		report.Events = append(report.Events, e)
	}
	return report
}

func TestSVGShowsTheReport(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := SVG(&b, sampleReport(), Options{Title: "a < b & c"}); err != nil {
		t.Fatal(err)
	}
	text := textsOf(t, b.Bytes())
	for _, want := range []string{
		"a < b & c", "61,234 requests in 30 s, 3 failed", "new-connection", "keep-alive", "time (s)", "latency (ms)",
		"p50", "p99", "max", "committed (18)", "aborted (1)", "rolled-back (1)", "failed", "0.1", "10",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not written in the picture", want)
		}
	}
	if strings.Contains(text, "slow") {
		t.Error("the closed loop is drawn without having been asked for")
	}
	if strings.Contains(b.String(), "<rect") || strings.Contains(b.String(), "#FFFFFF") {
		t.Error("the background is not transparent")
	}
	for _, s := range []shade{colourP50, colourP99, colourMax, colourCommitted, colourAborted, colourRolledBack} {
		if !strings.Contains(b.String(), strings.ToUpper(hex(s))) {
			t.Errorf("nothing is drawn in %s", hex(s))
		}
	}
}

func hex(s shade) string {
	const digits = "0123456789abcdef"
	text := []byte("#")
	for shift := 20; shift >= 0; shift -= 4 {
		text = append(text, digits[s>>shift&15])
	}
	return string(text)
}

// textsOf parses the whole picture and returns what is written in it.
func textsOf(t *testing.T, svg []byte) string {
	t.Helper()
	var text strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok {
			text.Write(data)
			text.WriteByte('\n')
		}
	}
}

func TestSVGDrawsTheTrafficAskedFor(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := SVG(&b, sampleReport(), Options{Traffic: []string{"slow"}}); err != nil {
		t.Fatal(err)
	}
	if text := textsOf(t, b.Bytes()); !strings.Contains(text, "slow") || strings.Contains(text, "keep-alive") {
		t.Error(text)
	}
	if err := SVG(io.Discard, sampleReport(), Options{Traffic: []string{"slow", "none"}}); err == nil {
		t.Error("traffic that is not in the report was drawn")
	}
	if err := SVG(io.Discard, load.Report{}, Options{}); err == nil {
		t.Error("an empty report was drawn")
	}
}

// TestSVGOfOddReports: whatever a short or a broken run leaves can be drawn.
func TestSVGOfOddReports(t *testing.T) {
	t.Parallel()
	for name, points := range map[string][]load.Point{
		"one point":       {{OK: 1, P50MS: 1, P99MS: 1, MaxMS: 1}},
		"nothing took":    {{OK: 1}},
		"nothing was OK":  {{Failed: 5}, {AtSeconds: 0.1, Failed: 5}},
		"a power of ten":  {{OK: 1, P50MS: 10, P99MS: 10, MaxMS: 10}},
		"from us to hour": {{OK: 1, P50MS: 0.001, P99MS: 5, MaxMS: 3.6e6}},
	} {
		report := load.Report{BucketSeconds: 0.1, Traffic: []load.TrafficReport{{Name: "x", Pattern: load.KeepAlive, Series: points}},
			Events: []load.EventReport{{AtSeconds: -1}, {AtSeconds: 1e9}}}
		var b bytes.Buffer
		if err := SVG(&b, report, Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%s: a coordinate is not a number", name)
		}
	}
}

func TestLinesStopWhereNothingWasAnswered(t *testing.T) {
	t.Parallel()
	got := segments(sampleReport().Traffic[0].Series, 0.1, func(p load.Point) float64 { return p.P50MS })
	if len(got) != 2 || len(got[0]) != 200 || len(got[1]) != 95 {
		t.Errorf("%d segments", len(got))
	}
}

// TestColoursReadOnWhiteAndOnDark asks for the contrast of 3 that WCAG 2.1
// wants of graphics (success criterion 1.4.11), on GitHub's two backgrounds.
func TestColoursReadOnWhiteAndOnDark(t *testing.T) {
	t.Parallel()
	for _, s := range []shade{muted, colourP50, colourP99, colourMax, colourQueue, colourCommitted, colourRolledBack, colourAborted, colourOther, colourFailed} {
		for _, background := range []shade{0xffffff, 0x0d1117} {
			a, b := luminance(s)+0.05, luminance(background)+0.05
			if contrast := max(a, b) / min(a, b); contrast < 3 {
				t.Errorf("%s on %s has a contrast of %.1f", hex(s), hex(background), contrast)
			}
		}
	}
}

func luminance(s shade) float64 {
	channel := func(shift int) float64 {
		v := float64(s>>shift&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

func TestTimesAreMarkedAtRoundSteps(t *testing.T) {
	t.Parallel()
	for span, step := range map[float64]float64{0.9: 0.2, 6: 1, 17: 5, 60: 10, 300: 50} {
		ticks := roundSteps{most: 8}.Ticks(0, span)
		if len(ticks) < 3 || len(ticks) > 9 || math.Abs(ticks[1].Value-step) > 1e-9 {
			t.Errorf("%v s: marks %v, want steps of %v", span, ticks, step)
		}
	}
}
