//go:build race

package main

// steady is how many new connections a second the tests send all the while:
// with the race detector, clients and supervisor take several times as long.
const steady = 500
