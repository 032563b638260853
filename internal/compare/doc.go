// Package compare has the tests that run this project and its peers side by side:
// the same service (folder server), the same load, good versions and bad ones.
// "make compare" runs them in full and writes docs/comparison.md; a plain "go test"
// tries each peer shortly, and judges that this project loses nothing.
//
// No peer is measured at less than its best: each is run as its own documentation
// recommends, and the file that has it says where that is written.
package compare
