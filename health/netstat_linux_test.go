package health

import (
	"math"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNetstatStaysWithItsNamespace(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	n, err := OpenNetstat()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	fill(t, listen(t, unix.IPPROTO_TCP, v4(1, 0), 5), 3)
	ownNamespace(t)
	if c, err := n.Read(); err != nil || c != (Counters{PassiveOpens: 3}) {
		t.Errorf("%+v, error %v, want three connections", c, err)
	}
}

func TestCountersSince(t *testing.T) {
	t.Parallel()
	was := Counters{1, 2, 3, 4, 5, 6, 7, math.MaxUint32}
	is := Counters{11, 22, 33, 44, 55, 66, 77, 4}
	if got, want := is.Since(was), (Counters{10, 20, 30, 40, 50, 60, 70, 5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := is.Since(is); got != (Counters{}) {
		t.Errorf("%+v, want nothing", got)
	}
}

const (
	someNetstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPReqQFullDrop New\nTcpExt: 1 22 33 4 5\n" +
		"IpExt: InNoRoutes\nIpExt: 9\n"
	someSnmp = "Ip: Forwarding\nIp: 1\nTcp: ActiveOpens PassiveOpens MaxConn\nTcp: 7 8 -1\n"
)

func TestParseNetstat(t *testing.T) {
	t.Parallel()
	got, err := ParseNetstat([]byte(someNetstat), []byte(someSnmp))
	want := Counters{SyncookiesSent: 1, ListenOverflows: 22, ListenDrops: 33, ReqQFullDrop: 4, PassiveOpens: 8}
	if err != nil || got != want {
		t.Errorf("%+v, error %v, want %+v", got, err, want)
	}
	for name, text := range map[string]string{
		"empty":      "",
		"one line":   "TcpExt: ListenDrops\n",
		"no value":   "TcpExt: New ListenDrops\nTcpExt: 1\n",
		"no name":    "TcpExt: New\nTcpExt: 1 2\n",
		"no number":  "TcpExt: ListenDrops\nTcpExt: many\n",
		"out of all": "TcpExt: ListenDrops\nTcpExt: 18446744073709551616\n",
	} {
		if c, err := ParseNetstat([]byte(text), []byte(someSnmp)); err == nil || c != (Counters{}) {
			t.Errorf("%s: %+v, error %v", name, c, err)
		}
	}
	if _, err := ParseNetstat([]byte(someNetstat), nil); err == nil {
		t.Error("no snmp: no error")
	}
}

func FuzzParseNetstat(f *testing.F) {
	f.Add([]byte(someNetstat), []byte(someSnmp))
	netstat, err := os.ReadFile("/proc/self/net/netstat")
	if err != nil {
		f.Fatal(err)
	}
	snmp, err := os.ReadFile("/proc/self/net/snmp")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(netstat, snmp)
	f.Fuzz(func(t *testing.T, netstat, snmp []byte) {
		if c, err := ParseNetstat(netstat, snmp); err != nil && c != (Counters{}) {
			t.Errorf("%+v with error %v", c, err)
		}
	})
}
