package orphan

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// EnvName is the variable that marks the processes of a generation.
const EnvName = "SUPERVISOR_MARK"

// Marker returns what a generation is to have in its environment, NAME=VALUE, by
// which its processes are recognised. The token, which no other generation of any
// supervisor has, does not show in it.
func Marker(generation int, token string) string {
	sum := sha256.Sum256([]byte(token))
	return fmt.Sprintf("%s=%d/%x", EnvName, generation, sum[:8])
}

// hasMarker reports whether an environment, as in /proc/PID/environ, has the
// marker among its variables.
func hasMarker(environ, marker []byte) bool {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if bytes.Equal(variable, marker) {
			return len(marker) > 0
		}
	}
	return false
}
