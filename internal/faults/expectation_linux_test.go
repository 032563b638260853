package faults

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A phase is one in which a fault falls: a column of the matrix.
type phase string

const (
	starting phase = "starting"
	ready    phase = "ready"
	overlap  phase = "overlap"
	gate     phase = "gate"
	cutOver  phase = "cut-over"
	bake     phase = "bake"
	commit   phase = "commit"
	drain    phase = "drain"
	idle     phase = "idle"
)

// phases are the columns in their order.
func phases() []phase {
	return []phase{starting, ready, overlap, gate, cutOver, bake, commit, drain, idle}
}

// A loss is which requests may fail.
type loss string

const (
	lossNone loss = "nothing"
	lossOwn  loss = "its own" // those that the failed process had accepted
	lossGap  loss = "the gap" // those that came while the listener was shut
)

// A remedy is what somebody has to do before the service is well.
type remedy string

const (
	remedyNone    remedy = ""
	remedyUndo    remedy = "the fault taken back"
	remedyForce   remedy = "upgrade --force"
	remedyUpgrade remedy = "upgrade"
)

// A server is who is active once all is well.
type server string

const (
	serverByVerdict server = "" // the new one if it was committed, else the old one
	serverOld       server = "old"
	serverNew       server = "new"
	serverRestarted server = "restarted"
	serverNext      server = "next" // whom the remedy brought
)

// An expectation is what must come of a fault in a phase.
type expectation struct {
	verdicts []string
	loss     loss
	server   server
	remedy   remedy
}

// serves is who is to be active after that verdict.
func (e expectation) serves(verdict string) server {
	switch {
	case e.server != serverByVerdict:
		return e.server
	case verdict == "committed":
		return serverNew
	}
	return serverOld
}

// String is an expectation in the words of the document.
func (e expectation) String() string {
	var serve []string
	for _, v := range e.verdicts {
		if s := string(e.serves(v)); !slices.Contains(serve, s) {
			serve = append(serve, s)
		}
	}
	text := fmt.Sprintf("%s, loses %s, %s serves", strings.Join(e.verdicts, " or "), e.loss, strings.Join(serve, " or "))
	if e.remedy != remedyNone {
		text += ", after " + string(e.remedy)
	}
	return text
}

// A row of the matrix.
type row struct {
	fault string
	cells map[phase]expectation // without those that cannot be
}

// parseMatrix reads a table as matrix is.
func parseMatrix(text string) (rows []row, err error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	head := fields(lines[0])
	columns := phases()
	if len(head) != len(columns)+1 {
		return nil, fmt.Errorf("%d columns, want %d", len(head), len(columns)+1)
	}
	for i, p := range columns {
		if head[i+1] != string(p) {
			return nil, fmt.Errorf("column %d is %s, want %s", i+1, head[i+1], p)
		}
	}
	for _, line := range lines[1:] {
		cells := fields(line)
		if len(cells) != len(head) {
			return nil, fmt.Errorf("%d cells, want %d: %s", len(cells), len(head), line)
		}
		r := row{cells[0], map[phase]expectation{}}
		for i, p := range columns {
			if cells[i+1] == "-" {
				continue
			}
			if r.cells[p], err = parseExpectation(cells[i+1]); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", r.fault, p, err)
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func fields(line string) []string {
	cells := strings.Split(line, "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

func parseExpectation(text string) (e expectation, err error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return e, errors.New("says nothing")
	}
	e = expectation{verdicts: strings.Split(words[0], "/"), loss: lossNone}
	known := []string{"committed", "aborted", "rolled-back", "refused", "none"}
	for _, v := range e.verdicts {
		if !slices.Contains(known, v) {
			return e, fmt.Errorf("unknown verdict %q", v)
		}
	}
	for _, w := range words[1:] {
		switch w {
		case "own":
			e.loss = lossOwn
		case "gap":
			e.loss = lossGap
		case "old", "new", "restarted", "next":
			e.server = server(w)
		case "+undo":
			e.remedy = remedyUndo
		case "+force":
			e.remedy, e.server = remedyForce, serverNext
		case "+upgrade":
			e.remedy, e.server = remedyUpgrade, serverNext
		default:
			return e, fmt.Errorf("unknown word %q", w)
		}
	}
	return e, nil
}
