package shim

import (
	"strings"
	"testing"
	"time"
)

func TestNotices(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]notice{
		"READY=1":                        {ready: true},
		"READY=1\nSTATUS=all is well\n":  {ready: true, status: "all is well"},
		"STATUS=a=b":                     {status: "a=b"},
		"READY=0":                        {},
		"ready=1":                        {},
		"READY":                          {},
		"":                               {},
		"X_OWN=1\nSTOPPING=1":            {stopping: true},
		"RELOADING=1\nMONOTONIC_USEC=5":  {},
		"WATCHDOG=1":                     {fed: true},
		"WATCHDOG=2":                     {},
		"WATCHDOG_USEC=1500000":          {limit: 1500 * time.Millisecond, limited: true},
		"WATCHDOG_USEC=0\nWATCHDOG=1":    {limited: true, fed: true},
		"WATCHDOG_USEC=-1":               {},
		"WATCHDOG_USEC=9223372036854776": {},
		"WATCHDOG=trigger":               {trigger: true},
		"FDSTORE=1\nFDNAME=x":            {store: true},
		"BARRIER=1":                      {},
		"MAINPID=17":                     {mainPID: "17"},
		"STATUS=\xff":                    {status: "?"},
		"READY=1\nREADY=0":               {ready: true},
	} {
		if got := parseNotice([]byte(text)); got != want {
			t.Errorf("%q is %+v, want %+v", text, got, want)
		}
	}
}

func FuzzParseNotice(f *testing.F) {
	f.Add("READY=1\nSTATUS=all is well\n")
	f.Add("=\n==\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		n := parseNotice([]byte(text))
		if n.ready && !strings.Contains(text, "READY=1") || strings.ContainsRune(n.status, '\n') {
			t.Errorf("%q is %+v", text, n)
		}
	})
}

func TestAcks(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		`{"command":"worker:ack","pid":42}` + "\n":                    true,
		"%7B%22command%22%3A%22worker%3Aack%22%2C%22pid%22%3A42%7D\n": true,
		"---%0A:command: worker:ack%0A:pid: 42%0A\n":                  true,
		`{"command":"state"}` + "\n":                                  false,
		"%zz":                                                         false,
		"":                                                            false,
	} {
		if got := isAck(line); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}
