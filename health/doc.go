// Package health observes one generation of a service from outside: does it
// answer, does it go on answering, has it answered long enough.
//
// It guarantees that every answer comes with its reason. Whatever waits here
// and fails says what was seen last, not only that time ran out. Nothing
// outlives a call: when a function returns, its connections are closed and the
// processes that it started, with their whole process group, are gone.
//
// A Probe asks once. Poll asks until the answer is yes, Watch until it has
// been no several times in a row, Settle until it has been yes for a while.
// What Settle and Watch decide is in Settling and Streak, which know neither
// clock nor probe, so that other observations can be fed to them.
//
// The package imports nothing else of this module.
package health
