package protocol

import (
	"errors"
	"fmt"
	"time"
)

// ParseWatchdog reads for how long a program may be silent. An empty text, and 0,
// mean that it need not speak.
func (p Protocol) ParseWatchdog(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	limit, err := time.ParseDuration(text)
	switch {
	case err != nil || limit < 0:
		return 0, fmt.Errorf("%q is no time such as 10s", text)
	case limit == 0:
		return 0, nil
	case limit < time.Millisecond:
		return 0, errors.New("is shorter than 1ms")
	case !p.Watchdog:
		return 0, fmt.Errorf("a program that is spoken to by %s has no word for being alive; only listen-fds has, as systemd does", p.Name)
	}
	return limit, nil
}
