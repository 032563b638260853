package main

import (
	"cmp"
	"slices"
)

// An input is one file of a corpus.
type input struct {
	name    string
	text    []byte
	reaches map[string]bool // blocks of the package
	fails   bool
}

// fewest chooses few inputs that reach, beyond what is given, all that all of them
// reach: again and again the one that reaches most of what is left, of equals the
// shortest. Those that fail are chosen in any case.
func fewest(given map[string]bool, inputs []input) (few []input) {
	left := map[string]bool{}
	for _, in := range inputs {
		if in.fails {
			few = append(few, in)
		}
		for block := range in.reaches {
			left[block] = left[block] || !given[block]
		}
	}
	slices.SortFunc(inputs, func(a, b input) int {
		return cmp.Or(cmp.Compare(len(a.text), len(b.text)), cmp.Compare(a.name, b.name))
	})
	for {
		best, most := -1, 0
		for i, in := range inputs {
			if n := count(left, in.reaches); n > most {
				best, most = i, n
			}
		}
		if best < 0 {
			return few
		}
		few = append(few, inputs[best])
		for block := range inputs[best].reaches {
			left[block] = false
		}
	}
}

// count is how many blocks are both left and reached.
func count(left, reached map[string]bool) (n int) {
	for block := range reached {
		if left[block] {
			n++
		}
	}
	return n
}
