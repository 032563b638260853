// Package rig runs a supervisor for a test as a user runs it: as the command, in
// processes of its own, asked by commands and answered in JSON. Tests of
// cmd/supervisor itself have ways of their own that see more.
//
// Nothing outlives a test: what is still there at its end is ended, the folder
// goes, and the log is shown where the test has failed.
package rig
