// Package programs has the tests that hold what docs/programs.md says of
// programs that nobody here wrote: servers of Debian's and of the Go module
// proxy's, upgraded under load, with what they lose when they are stopped by
// their own means counted beside it.
package programs
