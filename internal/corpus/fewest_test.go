package main

import (
	"strings"
	"testing"
)

func TestFewest(t *testing.T) {
	t.Parallel()
	blocks := func(words string) map[string]bool {
		all := map[string]bool{}
		for _, w := range strings.Fields(words) {
			all[w] = true
		}
		return all
	}
	in := func(name, text, reaches string) input {
		return input{name: name, text: []byte(text), reaches: blocks(reaches)}
	}
	for what, c := range map[string]struct {
		given  string
		inputs []input
		want   string
	}{
		"nothing is there":                     {"a", nil, ""},
		"nothing is new":                       {"a b", []input{in("1", "x", "a"), in("2", "y", "b a")}, ""},
		"one has all":                          {"", []input{in("1", "x", "a"), in("2", "xyz", "a b c"), in("3", "y", "c")}, "2"},
		"the shorter of equals":                {"", []input{in("1", "long", "a b"), in("2", "s", "a b")}, "2"},
		"two that have all between them":       {"z", []input{in("1", "x", "a b c"), in("2", "y", "c d"), in("3", "v", "a d")}, "1 2"},
		"what fails is kept, if it is nothing": {"a", []input{{name: "1", fails: true}, in("2", "y", "b")}, "1 2"},
	} {
		var names []string
		for _, one := range fewest(blocks(c.given), c.inputs) {
			names = append(names, one.name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

func TestReached(t *testing.T) {
	t.Parallel()
	got := reached("mode: set\na.go:1.2,3.4 2 1\na.go:5.6,7.8 1 0\nb.go:1.1,2.2 1 17\n")
	if len(got) != 2 || !got["a.go:1.2,3.4"] || !got["b.go:1.1,2.2"] {
		t.Errorf("reached %v", got)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	names, err := pkg{dir: "../../fdpass"}.targets()
	if err != nil || !strings.Contains(strings.Join(names, " "), "FuzzDecode") {
		t.Errorf("%v, %v", names, err)
	}
}
