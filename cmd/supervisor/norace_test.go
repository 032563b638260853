//go:build !race

package main

// steady is how many new connections a second the tests send all the while.
const steady = 1000
