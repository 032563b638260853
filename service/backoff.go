package service

import (
	"errors"
	"syscall"
	"time"
)

// isTemporary tells want of a resource, or trouble of the one connection that
// was being accepted (accept(2)), from a listener that is closed or broken.
func isTemporary(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EPROTO, syscall.EPERM,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

const (
	shortestBackoff = 5 * time.Millisecond
	longestBackoff  = time.Second
)

// A backoff is the last time waited: the shortest at first, doubled up to the
// longest.
type backoff time.Duration

func (b *backoff) next() time.Duration {
	*b = backoff(min(max(2*time.Duration(*b), shortestBackoff), longestBackoff))
	return time.Duration(*b)
}

// shortest begins anew.
func (b *backoff) shortest() { *b = backoff(shortestBackoff) }

// sleep waits for the time that next gave, or until stop is closed. Once hurry
// is closed it waits no longer than the shortest time.
func (b *backoff) sleep(stop, hurry <-chan struct{}) {
	timer := time.NewTimer(time.Duration(*b))
	defer timer.Stop()
	select {
	case <-stop:
		return
	case <-timer.C:
		return
	case <-hurry:
	}
	select {
	case <-stop:
	case <-time.After(min(time.Duration(*b), shortestBackoff)):
	}
}
