package protocol

import (
	"fmt"
	"time"
)

// A Way is one in which a program is seen to be ready.
type Way string

// The ways.
const (
	// Word: it says so, as its protocol has it.
	Word Way = "word"
	// Probe: the probe of the configuration passes; the program itself says
	// nothing.
	Probe Way = "probe"
	// Time: it has lived for some time.
	Time Way = "time"
)

// A Readiness is how a program is seen to be ready.
type Readiness struct {
	By    Way
	After time.Duration // by Time
}

// ParseReadiness reads "word", "probe" or a duration. An empty text is the way of
// the protocol.
func (p Protocol) ParseReadiness(text string) (Readiness, error) {
	switch Way(text) {
	case "":
		return p.Ready, nil
	case Word:
		if p.Ready.By != Word {
			return Readiness{}, fmt.Errorf("a program that is spoken to by %s has no word for being ready; use probe, or a time such as 1s", p.Name)
		}
		return p.Ready, nil
	case Probe:
		return Readiness{By: Probe}, nil
	}
	after, err := time.ParseDuration(text)
	if err != nil || after < 0 {
		return Readiness{}, fmt.Errorf("%q is no way to be ready; use word, probe, or a time such as 1s", text)
	}
	return Readiness{By: Time, After: after}, nil
}

// String writes r as ParseReadiness reads it.
func (r Readiness) String() string {
	if r.By == Time {
		return r.After.String()
	}
	return string(r.By)
}
