package main

import (
	"os"
	"testing"
)

func TestOnlyAProcessOfAnotherNetworkIsLeftOut(t *testing.T) {
	t.Parallel()
	if !sharesNetwork(os.Getpid()) || !sharesNetwork(0) {
		t.Error("we are not in our own network namespace, or what cannot be seen is left out")
	}
}
