package health

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDiagRecovers(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	fd := listen(t, 0, &unix.SockaddrUnix{Name: "@"}, 5)
	s := sampler(t, fd)
	s.diag.conn.Close()
	if err := s.Sample(make([]Sample, 1)); err == nil {
		t.Error("a closed netlink socket is no error")
	}
	if got := sample(t, s)[0]; got.Limit != 5 {
		t.Errorf("%+v, want limit 5", got)
	}
}

func TestDiagGivesUpAnAnswerThatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	for range 300 { // an answer in several parts
		listen(t, unix.IPPROTO_TCP, v4(1, 0), 5)
	}
	d, err := dialDiag()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	strange, count := errors.New("strange"), 0
	question := inetDump(stateListen, wantInfo, nil)
	if err := d.ask(question, func([]byte) error { return strange }); !errors.Is(err, strange) {
		t.Errorf("error %v", err)
	}
	if err := d.rows(question, func(*inetRow) { count++ }); err != nil || count != 300 {
		t.Errorf("%d listeners, error %v", count, err)
	}
}

func TestDiagDoesNotFollowAThreadIntoAnotherNamespace(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	d, err := dialDiag()
	if err != nil {
		t.Fatal(err)
	}
	ownNamespace(t)
	d.conn.Close()
	d.conn = nil
	if err := d.ask(inetDump(stateListen, 0, nil), func([]byte) error { return nil }); err == nil {
		t.Error("the answer is another namespace's")
	}
}

func TestDiagOfWhatIsNotThereStaysInStep(t *testing.T) {
	t.Parallel()
	d, err := dialDiag()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	conn := d.conn
	err = d.ask(unixRequestFor(1<<32-1, ^uint32(0), 0), func([]byte) error { return nil })
	if !errors.Is(err, unix.ENOENT) || d.conn != conn {
		t.Errorf("error %v; want %v, and the same netlink socket", err, unix.ENOENT)
	}
}

// recorded are answers of a kernel, as seeds.
func recorded(f *testing.F) (tcp, unixes [][]byte) {
	f.Helper()
	ownNamespace(f)
	fd := listen(f, unix.IPPROTO_TCP, v6(0), 5)
	connect(f, addressOf(f, fd))
	listen(f, 0, &unix.SockaddrUnix{Name: "@seed"}, 5)
	d, err := dialDiag()
	if err != nil {
		f.Fatal(err)
	}
	defer d.Close()
	keep := func(into *[][]byte) func([]byte) error {
		return func(data []byte) error { *into = append(*into, bytes.Clone(data)); return nil }
	}
	err = errors.Join(
		d.ask(inetDump(stateListen|stateEstablished, wantInfo|wantSkmeminfo, nil), keep(&tcp)),
		d.ask(unixRequestFor(0, stateListen, unixShowName|unixShowRqlen|unixShowUID), keep(&unixes)),
	)
	if err != nil {
		f.Fatal(err)
	}
	return tcp, unixes
}

// FuzzAnswer has the parts of an answer cut anywhere.
func FuzzAnswer(f *testing.F) {
	header := func(length uint32, typ, flags uint16, data ...byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, length)
		b = binary.NativeEndian.AppendUint16(b, typ)
		b = binary.NativeEndian.AppendUint16(b, flags)
		b = binary.NativeEndian.AppendUint32(b, 7)
		return append(append(b, 0, 0, 0, 0), data...)
	}
	f.Add(header(20, sockDiagByFamily, 2, 1, 2, 3, 4))
	f.Add(append(header(17, sockDiagByFamily, 2, 1, 0, 0, 0), header(20, 3, 2, 0, 0, 0, 0)...))
	f.Add(header(20, 2, 0, 0xfe, 0xff, 0xff, 0xff)) // ENOENT
	f.Add(header(3, 2, 0))
	f.Add(header(1<<31, 20, 0))
	f.Fuzz(func(t *testing.T, part []byte) {
		bytes := 0
		done, err := readPart(part, 7, func(data []byte) error {
			bytes += messageHeader + len(data)
			return nil
		})
		if bytes > len(part) {
			t.Errorf("%d bytes of messages in %d", bytes, len(part))
		}
		var said kernelError
		if errors.As(err, &said) && (!done || said.errno == 0) {
			t.Errorf("done %v, error %v", done, err)
		}
	})
}

func FuzzInetRow(f *testing.F) {
	seeds, _ := recorded(f)
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r inetRow
		if err := r.parse(b); (err != nil) != (len(b) < inetMessage) {
			t.Fatalf("%d bytes: error %v", len(b), err)
		}
		if isAccepted(b) != (len(b) >= inetMessage && r.state != tcpListen && r.inode != 0) {
			t.Errorf("%+v: accepted %v", r, isAccepted(b))
		}
		var q queues
		q.reset()
		r.state = tcpListen
		q.take(&r)
		r.state, r.hasInfo = 1, true
		q.take(&r)
		if w := q.of(r.inode); !w.Known || w.Count != 1 || w.Oldest < 0 || w.Oldest != w.Youngest {
			t.Errorf("%+v: %+v, want it to wait at its own place", r, w)
		}
		_ = r.listener().Address
	})
}

func FuzzUnixRow(f *testing.F) {
	_, seeds := recorded(f)
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseUnixRow(b)
		if (err != nil) != (len(b) < unixMessage) {
			t.Fatalf("%d bytes: error %v", len(b), err)
		}
		if s := r.sample(); s.Listening && r.state != tcpListen {
			t.Errorf("%+v listens", r)
		}
		_ = r.listener().Address
	})
}

// FuzzPortFilter runs the program as the kernel does, after the kernel's own
// checks, on ports that are in and ports that are not.
func FuzzPortFilter(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{0, 80}, uint16(80))
	f.Add([]byte{0, 80, 1, 187, 0, 80}, uint16(443))
	f.Add(bytes.Repeat([]byte{1, 2, 3, 4, 5}, 100), uint16(0x0304))
	f.Fuzz(func(t *testing.T, list []byte, port uint16) {
		ports := map[uint16]bool{}
		var all []uint16
		for ; len(list) >= 2; list = list[2:] {
			ports[binary.BigEndian.Uint16(list)] = true
			all = append(all, binary.BigEndian.Uint16(list))
		}
		code := portFilter(all)
		if len(all) == 0 {
			if code != nil {
				t.Error("a filter for no port")
			}
			return
		}
		checkFilter(t, code)
		for p := range ports {
			if !runFilter(code, p) {
				t.Fatalf("port %d is out", p)
			}
		}
		if len(ports) <= maxFilterPorts && runFilter(code, port) != ports[port] {
			t.Errorf("port %d is in: %v", port, !ports[port])
		}
	})
}

func opAt(code []byte) (op uint8, yes, no int) {
	return code[0], int(code[1]), int(binary.NativeEndian.Uint16(code[2:]))
}

// checkFilter is inet_diag_bc_audit (net/ipv4/inet_diag.c).
func checkFilter(t *testing.T, code []byte) {
	t.Helper()
	starts := map[int]bool{0: true}
	for left := len(code); left > 0; {
		starts[left] = true
		_, yes, _ := opAt(code[len(code)-left:])
		left -= yes
	}
	for left := len(code); left > 0; {
		op, yes, no := opAt(code[len(code)-left:])
		least := 8
		if op == opJump {
			least = 4
		}
		if yes < least || yes > left+4 || no < least || no > left+4 || (yes|no)&3 != 0 || no < left && !starts[left-no] {
			t.Fatalf("the kernel refuses operation %d, yes %d, no %d with %d left", op, yes, no, left)
		}
		left -= yes
	}
}

// runFilter is inet_diag_bc_run.
func runFilter(code []byte, port uint16) bool {
	left := len(code)
	for left > 0 {
		at := code[len(code)-left:]
		op, yes, no := opAt(at)
		in := false
		if op != opJump {
			_, _, want := opAt(at[4:])
			switch op {
			case opPortIs:
				in = int(port) == want
			case opPortAtLeast:
				in = int(port) >= want
			case opPortAtMost:
				in = int(port) <= want
			}
		}
		if in {
			left -= yes
		} else {
			left -= no
		}
	}
	return left == 0
}
