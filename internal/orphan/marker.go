package orphan

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
)

// EnvName is the variable that marks the processes of a generation.
const EnvName = "SUPERVISOR_MARK"

// ServiceEnv is the variable that marks the processes of all generations of a
// service, whichever supervisor started them.
const ServiceEnv = "SUPERVISOR_SERVICE"

// ServiceMarker returns what all generations of a service are to have in their
// environment beside their own [Marker]. A service is known by its run directory:
// its path alone may be that of another one in another mount namespace, and its
// device and inode numbers alone may have been another's before.
func ServiceMarker(runDir string, dev, ino uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", dev, ino, runDir))
	return fmt.Sprintf("%s=%x", ServiceEnv, sum[:8])
}

// highest is the highest number of a generation that is believed.
const highest = 1 << 30

// generationIn finds the marker of a generation in an environment.
func generationIn(environ []byte) (generation int, marker string, ok bool) {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		value, is := bytes.CutPrefix(variable, []byte(EnvName+"="))
		if !is {
			continue
		}
		number, _, is := strings.Cut(string(value), "/")
		n, err := strconv.Atoi(number)
		return n, string(variable), is && err == nil && n > 0 && n <= highest
	}
	return 0, "", false
}

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
