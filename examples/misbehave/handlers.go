package main

import (
	"flag"
	"net/http"
	"sync"
	"sync/atomic"
)

// handlerFaults are the ways of being bad to requests.
type handlerFaults struct {
	blockAfter int64
}

func (f *handlerFaults) flags() {
	flag.Int64Var(&f.blockAfter, "block-handlers-after", -1, "answer this many `requests`, then block every handler on a lock")
}

// around returns h with its faults: a deadlock, as a service gets it whose
// handlers share a lock that somebody keeps. Connections are accepted all the
// while, and probes, which need no lock, answered.
func (f *handlerFaults) around(h http.Handler) http.Handler {
	if f.blockAfter < 0 {
		return h
	}
	lock := new(sync.Mutex)
	lock.Lock() // for good
	var begun atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if begun.Add(1) > f.blockAfter {
			lock.Lock()
		}
		h.ServeHTTP(w, r)
	})
}
