// Package architecture holds the rules about who may know whom. It has tests
// only: the table of rooms in rooms_test.go says what each package may import,
// and a package or an arrow that is not in it fails the tests, as does an arrow
// in it that nothing uses. Files of every operating system and build tag are
// read; test files may import what they like.
package architecture
