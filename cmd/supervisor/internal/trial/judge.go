package trial

import (
	"fmt"

	"example.com/supervisor/cmd/supervisor/internal/figures"
)

// judge returns what in r is not as it should be, in words.
func judge(r Result) []string {
	problems := r.Counts.Problems(r.FailedByKind)
	if !r.Interrupted {
		problems = append(problems, figures.Silent(r.Traffic)...)
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
