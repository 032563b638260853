package fdpass

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

// FuzzDecode: any packet is a message or a *MessageError, and a message
// survives being sent on.
func FuzzDecode(f *testing.F) {
	for _, m := range samples() {
		data, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, p := range badPackets() {
		f.Add([]byte(p.packet))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(data)
		if err != nil {
			var bad *MessageError
			if !errors.As(err, &bad) || m != nil {
				t.Fatalf("%#v, %v", m, err)
			}
			return
		}
		again, err := encode(m)
		if err != nil {
			if len(data) < MaxPacket/8 && m.validate() != nil {
				t.Fatalf("%#v: %v", m, err)
			}
			return // it may have been longer than a packet to begin with
		}
		back, err := decode(again)
		if err != nil || !same(m, back) {
			t.Fatalf("%#v became %#v, %v", m, back, err)
		}
	})
}

// same compares messages but for the difference of a nil and an empty slice,
// and for fields that only other versions have.
func same(a, b Message) bool {
	x, errX := encode(a)
	y, errY := encode(b)
	return errX == nil && errY == nil && string(x) == string(y) && reflect.TypeOf(a) == reflect.TypeOf(b)
}

// A peerScript is an arbitrary sequence of packets, most of which nearly make
// sense: three bytes choose a packet, change one number of it, and say how many
// descriptors go with it.
type peerScript struct {
	packets []func(n int) string
	file    int
	fds     []int
}

func (s peerScript) play(c *Conn, data []byte) {
	for len(data) >= 3 {
		kind, n, gifts := int(data[0]), int(data[1]), int(data[2])
		data = data[3:]
		var text string
		if kind%(len(s.packets)+1) == len(s.packets) {
			n = min(n, len(data))
			text, data = string(data[:n]), data[n:]
		} else {
			text = s.packets[kind%(len(s.packets)+1)](n)
		}
		if c.sendText(text, s.descriptors(gifts)...) != nil {
			return
		}
	}
}

// descriptors: an even number asks for listeners, an odd one for a file.
func (s peerScript) descriptors(n int) []int {
	var fds []int
	for i := range n / 2 {
		if n%2 == 0 {
			fds = append(fds, s.fds[i%len(s.fds)])
		} else {
			fds = append(fds, s.file)
		}
	}
	return fds
}

func newPeerScript(f *testing.F) (peerScript, []Listener) {
	ls := listeners(f, 3)
	file, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { unix.Close(file) })
	s := peerScript{file: file}
	for _, l := range ls {
		s.fds = append(s.fds, l.FD)
	}
	return s, ls
}

// checkFuzzLeaks compares descriptors around f.
func checkFuzzLeaks(t *testing.T, f func()) {
	before := leaktest.Open()
	f()
	if leaked := leaktest.Since(before, nil); len(leaked) > 0 {
		t.Fatalf("leaked descriptors: %v", leaked)
	}
}

// FuzzOffer: whatever the child says, Offer returns, and an error if the
// child has not acknowledged everything.
func FuzzOffer(f *testing.F) {
	s, ls := newPeerScript(f)
	s.packets = []func(int) string{
		func(n int) string { return fmt.Sprintf(`{"type":"hello","protocol":%d,"pid":7}`, n) },
		func(n int) string {
			return fmt.Sprintf(`{"type":"received","batch":%d,"count":3,"cookies":["%d","%d","%d"]}`,
				n, ls[0].Cookie, ls[1].Cookie, ls[2].Cookie)
		},
		func(n int) string {
			return fmt.Sprintf(`{"type":"received","batch":1,"count":%d,"cookies":["%d","%d","%d"]}`,
				n, ls[0].Cookie, ls[1].Cookie, n)
		},
		func(n int) string { return fmt.Sprintf(`{"type":"failed","reason":"%c"}`, rune(n)) },
		func(n int) string { return fmt.Sprintf(`{"type":"ready","x":%d}`, n) },
	}
	f.Add([]byte{0, 1, 0, 1, 1, 0})
	f.Add([]byte{0, 2, 0})
	f.Add([]byte{0, 1, 0, 2, 3, 0})
	f.Add([]byte{0, 1, 7, 3, 65, 0})
	f.Add([]byte{5, 2, 253, '{', '}'})
	f.Add([]byte{5, 0, 8})
	f.Fuzz(func(t *testing.T, data []byte) {
		checkFuzzLeaks(t, func() {
			supervisor, child := fuzzPair(t)
			done := make(chan error, 1)
			go func() {
				_, err := Offer(supervisor, welcome(), ls[0].FD, ls)
				supervisor.Close()
				done <- err
			}()
			s.play(child, data)
			// What the child sent last is read before its end is seen.
			child.sock.CloseWrite()
			err := <-done
			child.Close()
			good := len(data) >= 6 && data[0]%6 == 0 && data[1] == 1 && data[2] < 2 && data[3]%6 == 1 && data[4] == 1 && data[5] < 2
			if good != (err == nil) && !rawPackets(data) {
				t.Fatalf("%v: %v", data, err)
			}
		})
	})
}

// rawPackets: free text may spell a good packet.
func rawPackets(data []byte) bool {
	return len(data) >= 3 && data[0]%6 == 5 || len(data) >= 6 && data[3]%6 == 5
}

// FuzzAccept: whatever the supervisor says, Accept returns all or nothing.
func FuzzAccept(f *testing.F) {
	s, ls := newPeerScript(f)
	describe := func(i int, cookie Cookie) string {
		return fmt.Sprintf(`{"name":%q,"network":%q,"address":%q,"cookie":"%d"}`, ls[i].Name, ls[i].Network, ls[i].Address, cookie)
	}
	s.packets = []func(int) string{
		func(n int) string {
			return fmt.Sprintf(`{"type":"welcome","protocol":1,"service":"s","generation":1,"listeners":%d}`, n)
		},
		func(n int) string {
			return fmt.Sprintf(`{"type":"welcome","protocol":%d,"service":"s","generation":1,"listeners":3,"probe":true}`, n)
		},
		func(n int) string {
			return fmt.Sprintf(`{"type":"listeners","batch":%d,"of":1,"listeners":[%s,%s,%s]}`,
				n, describe(0, ls[0].Cookie), describe(1, ls[1].Cookie), describe(2, ls[2].Cookie))
		},
		func(n int) string {
			return fmt.Sprintf(`{"type":"listeners","batch":%d,"of":3,"listeners":[%s]}`, n, describe(n%3, ls[0].Cookie))
		},
		func(n int) string { return fmt.Sprintf(`{"type":"pause","id":%d}`, n) },
	}
	f.Add([]byte{0, 3, 0, 2, 1, 6})
	f.Add([]byte{1, 1, 2, 2, 1, 6})
	f.Add([]byte{1, 1, 3, 2, 1, 7})
	f.Add([]byte{0, 3, 0, 3, 1, 2, 3, 2, 2, 3, 3, 2})
	f.Add([]byte{5, 2, 253, '{', '}'})
	f.Fuzz(func(t *testing.T, data []byte) {
		checkFuzzLeaks(t, func() {
			supervisor, child := fuzzPair(t)
			done := make(chan error, 1)
			go func() {
				w, got, probe, err := Accept(child, Hello{})
				if err == nil && len(got) != w.Listeners || (probe >= 0) != w.Probe || err != nil && got != nil {
					err = fmt.Errorf("half a handoff: %+v, %v, %d, %w", w, got, probe, err)
					t.Error(err)
				}
				closeListeners(got)
				if probe >= 0 {
					unix.Close(probe)
				}
				child.Close()
				done <- err
			}()
			s.play(supervisor, data)
			supervisor.sock.CloseWrite()
			<-done
			supervisor.Close()
		})
	})
}

// FuzzTakeBack: whatever the child says, TakeBack returns all or nothing, and
// takes no descriptor from a child that is not admitted.
func FuzzTakeBack(f *testing.F) {
	s, ls := newPeerScript(f)
	describe := func(i int, cookie Cookie) string {
		return fmt.Sprintf(`{"name":%q,"network":%q,"address":%q,"cookie":"%d"}`, ls[i].Name, ls[i].Network, ls[i].Address, cookie)
	}
	s.packets = []func(int) string{
		func(n int) string { return rejoinPacket(fmt.Sprintf(`"listeners":%d`, n)) },
		func(n int) string { return rejoinPacket(fmt.Sprintf(`"generation":%d,"listeners":3`, n)) },
		func(n int) string {
			return fmt.Sprintf(`{"type":"listeners","batch":%d,"of":1,"listeners":[%s,%s,%s]}`,
				n, describe(0, ls[0].Cookie), describe(1, ls[1].Cookie), describe(2, ls[2].Cookie))
		},
		func(n int) string {
			return fmt.Sprintf(`{"type":"listeners","batch":%d,"of":3,"listeners":[%s]}`, n, describe(n%3, ls[0].Cookie))
		},
		func(n int) string { return fmt.Sprintf(`{"type":"failed","reason":"%c"}`, rune(n)) },
	}
	f.Add([]byte{0, 3, 0, 2, 1, 6})
	f.Add([]byte{1, 1, 0, 2, 1, 6})
	f.Add([]byte{1, 2, 0, 2, 1, 6})
	f.Add([]byte{0, 0, 0})
	f.Add([]byte{0, 3, 0, 3, 1, 2, 3, 2, 2, 3, 3, 2})
	f.Add([]byte{5, 2, 253, '{', '}'})
	f.Fuzz(func(t *testing.T, data []byte) {
		checkFuzzLeaks(t, func() {
			supervisor, child := fuzzPair(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				r, got, err := TakeBack(supervisor, func(r Rejoin) (Welcome, error) {
					if r.Generation != 1 || !r.Proves(testToken) {
						return Welcome{}, errors.New("who is that?")
					}
					return admitAll(r)
				})
				if err == nil && (len(got) != r.Listeners || r.Generation != 1) || err != nil && got != nil && len(got) != r.Listeners {
					t.Errorf("half a rejoin: %+v, %v, %v", r, got, err)
				}
				closeListeners(got)
				supervisor.Close()
			}()
			s.play(child, data)
			child.sock.CloseWrite()
			<-done
			child.Close()
		})
	})
}

// FuzzGiveBack: whatever the supervisor says, GiveBack returns, and keeps
// nothing that it is sent.
func FuzzGiveBack(f *testing.F) {
	s, ls := newPeerScript(f)
	s.packets = []func(int) string{
		func(n int) string {
			return fmt.Sprintf(`{"type":"received","batch":%d,"count":3,"cookies":["%d","%d","%d"]}`,
				n, ls[0].Cookie, ls[1].Cookie, ls[2].Cookie)
		},
		func(n int) string {
			return fmt.Sprintf(`{"type":"welcome","protocol":1,"service":"test","generation":1,"listeners":%d}`, n)
		},
		func(n int) string {
			return fmt.Sprintf(`{"type":"welcome","protocol":1,"service":"test","generation":%d,"listeners":3,"probe":true}`, n)
		},
		func(n int) string { return fmt.Sprintf(`{"type":"error","reason":"%c"}`, rune(n)) },
	}
	f.Add([]byte{0, 1, 0, 1, 3, 0})
	f.Add([]byte{0, 1, 0, 2, 1, 2})
	f.Add([]byte{3, 65, 0})
	f.Add([]byte{0, 1, 0, 3, 65, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		checkFuzzLeaks(t, func() {
			supervisor, child := fuzzPair(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				w, err := GiveBack(child, rejoin(), ls)
				if err == nil && (w.Generation != 1 || w.Listeners != 3) {
					t.Errorf("a welcome for somebody else: %+v", w)
				}
				child.Close()
			}()
			s.play(supervisor, data)
			supervisor.sock.CloseWrite()
			<-done
			supervisor.Close()
		})
	})
}

// fuzzPair is a channel that fails rather than hangs.
func fuzzPair(t *testing.T) (supervisor, child *Conn) {
	supervisor, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	child = adopt(t, f)
	deadline := time.Now().Add(10 * time.Second)
	for _, c := range []*Conn{supervisor, child} {
		if err := errors.Join(c.SetReadDeadline(deadline), c.SetWriteDeadline(deadline)); err != nil {
			t.Fatal(err)
		}
	}
	return supervisor, child
}
