// Package faults is its tests: a matrix of faults by the phases of an upgrade, each
// cell a run of real processes under load. What must come of each fault is written
// down beforehand, in table_linux_test.go. "make faults" runs all of it and writes
// docs/faults.md; "go test" runs a selection.
package faults
