package upgrade

import (
	"slices"
	"strings"
)

// Shown returns r as others may see it: of the entries of the environment, whose
// values may be secrets, the names alone. r is not changed.
func (r Release) Shown() Release {
	r.Env, r.FileEnv = names(r.Env), names(r.FileEnv)
	return r
}

func names(env []string) []string {
	env = slices.Clone(env)
	for i, entry := range env {
		env[i], _, _ = strings.Cut(entry, "=")
	}
	return env
}

// Shown returns r with its releases as others may see them. r is not changed.
func (r Report) Shown() Report {
	r.FromRelease, r.ToRelease = shown(r.FromRelease), shown(r.ToRelease)
	return r
}

// Shown returns st with its releases as others may see them. st is not changed.
func (st Status) Shown() Status {
	st.Release, st.Previous = shown(st.Release), shown(st.Previous)
	st.Generations, st.Reports = slices.Clone(st.Generations), slices.Clone(st.Reports)
	for i := range st.Generations {
		st.Generations[i].Release = st.Generations[i].Release.Shown()
	}
	for i := range st.Reports {
		st.Reports[i] = st.Reports[i].Shown()
	}
	return st
}

func shown(r *Release) *Release {
	if r == nil {
		return nil
	}
	return new(r.Shown())
}
