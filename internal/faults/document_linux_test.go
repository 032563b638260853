package faults

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"example.com/supervisor/internal/load"
)

const documentHead = `# Faults by phases

Written by %[1]s; every line of it is a run of real processes. For what it means for the service, read
[README](../README.md#promises); for the phases, [design.md](design.md#an-upgrade-step-by-step).

Each cell is one run of its own: a supervisor with a service of package ` + "`service`" + `, some 140 requests a second
(new connections; kept ones, whose POSTs are never sent twice; slow requests of 0.6 s), an upgrade, and one fault that falls in
one phase of it. The phase is held meanwhile, and read back from the steps that the upgrade told; a fault that missed its
phase is tried again. What must come of it was written down beforehand, in
[the matrix](../internal/faults/table_linux_test.go), which is a part of the tests. A cell is held if

- the verdict is the one expected, and the generation is active that should be,
- no request failed but those that were expected to: *nothing*; *its own*, requests on connections that the failed
  process itself had accepted (each process notes whom it accepts, so this is known and not guessed); *the gap*, those
  that came while the listener was shut,
- it became well by itself, or by the remedy that the cell names, half a second after the fault,
- an ordinary upgrade then commits, and after a stop no process, file or descriptor is left.

What a column means where it is not plain:

- A fault of the program is one of the file that the upgrade starts. In *starting* it falls when the upgrade has been
  admitted and the file is not executed yet; from then on the program runs, and who would write to its file is refused by
  the kernel (ETXTBSY), so that only its name can be given to another file.
- In *idle* an upgrade is asked for, with the fault there, where the program or the disk is at fault, and two are asked
  for at once in the row of a second caller. Elsewhere *idle* has no upgrade, and the verdict is *none*.
- A supervisor that ends is followed by the next one at once, as by systemd or a shell loop, and whoever waits for the
  verdict asks that one.

` + "```" + `
make faults                          all of it, and this page
SUPERVISOR_TEST_CLOCK=1 make faults  as root: the same, and the clock of the machine is set again and again
make faults FAULT=SIGSTOP PHASE=bake the cells that match, and no page
go test ./internal/faults            a selection of them: TestFaults
` + "```" + `

Run on %[2]s.
The times are those of short limits: ready within 4 s, pause within 2 s, drain within 2 s, a grace of 2 s, a bake of 1 s;
what hangs with connections open lives for a drain and two graces. "Longest wait" is that of any request, beyond its own
time. "Clients well after" counts from the fault to the end of the last request that failed or waited for more than
100 ms, "supervisor at rest after" until one generation was active and all else had ended, 0.2 s at the least: the fault's
effect is waited for.

`

// document is docs/faults.md.
func document(rows []row, results []*result) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, documentHead, "`make faults`", load.ThisMachine().Full())
	find := func(r row, p phase) *result {
		for _, res := range results {
			if res.row == r.fault && res.phase == p {
				return res
			}
		}
		return nil
	}
	overview(&b, rows, find)
	for _, r := range rows {
		details(&b, r, find)
	}
	return b.Bytes()
}

const overviewText = `## Overview

%d of %d cells are held.

%s
A dash is a cell that cannot be: %s. "After --force" and "after upgrade" are faults of a generation that is active, or is
again, and that nobody watches any more: clients wait, or its own ones fail, until somebody upgrades. "After undo": until
the fault is taken back, by SIGCONT for one.

`

// byRemedy says what had to be done.
func byRemedy(r remedy) string {
	switch r {
	case remedyUndo:
		return " after undo"
	case remedyForce:
		return " after --force"
	case remedyUpgrade:
		return " after upgrade"
	}
	return ""
}

// overview is a matrix of what was held.
func overview(b *bytes.Buffer, rows []row, find func(row, phase) *result) {
	held, all := 0, 0
	var table, open, notRun bytes.Buffer
	fmt.Fprint(&table, "| |")
	for _, p := range phases() {
		fmt.Fprintf(&table, " %s |", p)
	}
	fmt.Fprintf(&table, "\n|---|%s\n", strings.Repeat("---|", len(phases())))
	for _, r := range rows {
		fmt.Fprintf(&table, "| [%s](#%s) |", r.fault, anchor(r.fault))
		for _, p := range phases() {
			res := find(r, p)
			switch {
			case res == nil:
				fmt.Fprint(&table, " – |")
				continue
			case res.notRun != "":
				fmt.Fprint(&table, " not run |")
				if line := fmt.Sprintf("- %s: %s\n", r.fault, res.notRun); !strings.Contains(notRun.String(), line) {
					notRun.WriteString(line)
				}
				continue
			case len(res.objections) == 0:
				held++
				fmt.Fprintf(&table, " held%s |", byRemedy(res.want.remedy))
			default:
				fmt.Fprint(&table, " **NOT HELD** |")
				fmt.Fprintf(&open, "- %s, %s: %s\n", r.fault, p, strings.Join(res.objections, "; "))
			}
			all++
		}
		fmt.Fprintln(&table)
	}
	fmt.Fprintf(b, overviewText, held, all, table.String(), impossible)
	if open.Len() > 0 {
		fmt.Fprintf(b, "Not held:\n\n%s\n", open.String())
	}
	if notRun.Len() > 0 {
		fmt.Fprintf(b, "Not run, and not counted:\n\n%s\n", notRun.String())
	}
}

// details are the runs of one fault.
func details(b *bytes.Buffer, r row, find func(row, phase) *result) {
	fmt.Fprintf(b, "## %s\n\n", heading(r.fault))
	fmt.Fprintln(b, "| phase | expected | verdict | serves | requests | failed | longest wait | clients well after | supervisor at rest after |")
	fmt.Fprintln(b, "|---|---|---|---|---|---|---|---|---|")
	for _, p := range phases() {
		res := find(r, p)
		if res == nil {
			continue
		}
		if res.notRun != "" {
			fmt.Fprintf(b, "| %s | %s | not run: %s | | | | | | |\n", p, res.want, res.notRun)
			continue
		}
		o := res.got
		failed := fmt.Sprint(o.failed)
		if o.failed > 0 {
			failed += " (" + o.kinds + ")"
		}
		mark := ""
		if len(res.objections) > 0 {
			mark = " **NOT HELD**"
		}
		fmt.Fprintf(b, "| %s%s | %s | %s | %s | %d | %s | %s | %s | %s |\n", p, mark, res.want, o.verdict, o.server,
			o.requests, failed, seconds(o.slowest), seconds(o.clients), seconds(o.supervisor))
	}
	fmt.Fprintln(b)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func heading(fault string) string { return strings.ToUpper(fault[:1]) + fault[1:] }

// anchor is the link to a heading, as GitHub makes it.
func anchor(fault string) string {
	keep := func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}
	return strings.Map(keep, strings.ToLower(fault))
}
