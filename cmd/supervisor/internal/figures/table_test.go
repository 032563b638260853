package figures

import (
	"strings"
	"testing"

	"example.com/supervisor/internal/load"
)

// TestLargeCountsStayApart: two that touch read as one.
func TestLargeCountsStayApart(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	counts := Counts{Requests: 20_000_000, Answered: 1, Failed: 19_999_999}
	sum := Sum{Counts: counts, FailedByKind: map[load.FailureKind]uint64{load.Overload: counts.Failed}}
	WriteTraffic(&b, []Traffic{{Name: "new connections", Requests: counts.Requests, Failed: counts.Failed}}, sum, 0)
	for _, want := range []string{"new connections 20,000,000 19,999,999 ", "all             20,000,000 19,999,999 "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in:\n%s", want, b.String())
		}
	}
}

func TestCountsThatAreNotWellAreToldInWords(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Counts{
		"":                                {Requests: 3, Answered: 3},
		"1 request failed: eof 1":         {Requests: 3, Answered: 2, Failed: 1},
		"2 requests had no answer at the": {Requests: 3, Answered: 1, Unfinished: 2},
		"do not make 4 requests":          {Requests: 4, Answered: 3},
	} {
		problems := strings.Join(c.Problems(map[load.FailureKind]uint64{load.EOF: c.Failed}), "\n")
		if !strings.Contains(problems, want) || (want == "") != (problems == "") {
			t.Errorf("%+v: %q, want %q", c, problems, want)
		}
	}
}
