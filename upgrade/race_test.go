//go:build race

package upgrade

// crowd bounds the exploration. It has one goroutine, in which the race
// detector finds nothing and takes ten times as long.
const crowd = 1
