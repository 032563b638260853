package trial

import (
	"fmt"

	"example.com/supervisor/cmd/supervisor/internal/figures"
)

// judge returns what in r is not as it should be, in words.
func judge(r Result) []string {
	var problems []string
	if r.Failed > 0 {
		problems = append(problems, fmt.Sprintf("%s failed: %s", figures.Requests(r.Failed), figures.ByKind(r.FailedByKind)))
	}
	if r.Unfinished > 0 {
		problems = append(problems, fmt.Sprintf("%s had no answer at the end", figures.Requests(r.Unfinished)))
	}
	if r.Answered+r.Failed+r.Unfinished != r.Requests {
		problems = append(problems, fmt.Sprintf("%d answered, %d failed and %d unfinished do not make %s", r.Answered, r.Failed, r.Unfinished, figures.Requests(r.Requests)))
	}
	for _, t := range r.Traffic {
		if t.Answered == 0 && !r.Interrupted {
			problems = append(problems, fmt.Sprintf("no request of %q was answered: nothing is shown", t.Name))
		}
	}
	for _, a := range r.Attempts {
		if !a.OK && !a.interrupted {
			problems = append(problems, fmt.Sprintf("%d, %s: %s: %s", a.Number, a.What, a.Verdict, a.Reason))
		}
	}
	if r.acts && len(r.Attempts) == 0 && !r.Interrupted {
		problems = append(problems, "nothing was done to the service: the run was over before; give it more time")
	}
	return problems
}
