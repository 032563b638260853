package listen

// Places are specs that can be found: among a thousand, too, at once. They do not
// change.
type Places struct {
	specs, addresses map[string]int // the first place
}

// NewPlaces makes these specs places.
func NewPlaces(specs []Spec) Places {
	p := Places{make(map[string]int, len(specs)), make(map[string]int, len(specs))}
	for i, s := range specs {
		note(p.specs, s.String(), i)
		if key := s.addressKey(); key != "" {
			note(p.addresses, key, i)
		}
	}
	return p
}

func note(places map[string]int, key string, i int) {
	if _, taken := places[key]; !taken {
		places[key] = i
	}
}

// Of is the first place of a spec that is the same as s, or would bind the same
// address as far as can be told without looking names up; -1 if there is none.
func (p Places) Of(s Spec) int {
	same, is := p.specs[s.String()]
	there, has := p.addresses[s.addressKey()] // none has the empty one
	switch {
	case is && has:
		return min(same, there)
	case is:
		return same
	case has:
		return there
	}
	return -1
}
