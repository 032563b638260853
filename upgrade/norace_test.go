//go:build !race

package upgrade

// crowd bounds the exploration: the number of generations alive at once up to
// which a state is explored further.
const crowd = 2
