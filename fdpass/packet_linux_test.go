package fdpass

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

// A bad packet, and what Receive says about it.
type badPacket struct {
	name, packet string
	descriptors  int
	text         string
}

func badPackets() []badPacket {
	long := strings.Repeat("x", MaxPacket)
	return []badPacket{
		{"empty", "", 0, "the packet is empty"},
		{"empty with descriptors", "", 3, "the packet is empty"},
		{"no JSON", "hello", 0, "not a JSON object"},
		{"no JSON with descriptors", "hello", 3, "not a JSON object"},
		{"half", `{"type":"ready"`, 0, "not JSON: unexpected end"},
		{"two objects", `{"type":"ready"}{"type":"ready"}`, 0, "not JSON: invalid character '{' after"},
		{"array", `["ready"]`, 0, "not a JSON object"},
		{"null", `null`, 0, "not a JSON object"},
		{"no UTF-8", "{\"type\":\"ready\xff\"}", 0, "not valid UTF-8"},
		{"deep", `{"type":"ready","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}", 0, "exceeded max depth"},
		{"no type", `{"id":1}`, 0, "the object has no type"},
		{"null type", `{"type":null}`, 0, "the object has no type"},
		{"type of another type", `{"type":7}`, 0, `field "type" must be a string, not number`},
		{"unknown type", `{"type":"restart"}`, 0, `bad "restart" message: the type is not known`},
		{"empty type", `{"type":""}`, 0, "the type is not known"},
		{"long type", `{"type":"` + long[:300] + `"}`, 0, "the type is longer than 255 bytes"},
		{"too long", `{"type":"ready","x":"` + long + `"}`, 0, "longer than 65536 bytes"},
		{"too long with descriptors", `{"type":"ready","x":"` + long + `"}`, 5, "longer than 65536 bytes"},
		{"a descriptor too many", `{"type":"ready"}`, 1, "it came with 1 descriptors instead of 0"},
		{"253 descriptors too many", `{"type":"hello","protocol":1,"pid":7}`, 253, "it came with 253 descriptors instead of 0"},
		{"unknown type with descriptors", `{"type":"restart"}`, 253, "the type is not known"},
		{"probe without descriptor", `{"type":"welcome","protocol":1,"service":"s","generation":1,"probe":true}`, 0, "0 descriptors instead of 1"},
		{"probe with two", `{"type":"welcome","protocol":1,"service":"s","generation":1,"probe":true}`, 2, "2 descriptors instead of 1"},
		{"listener without descriptor", `{"type":"listeners","batch":1,"of":1,"listeners":[{"name":"a","network":"tcp","address":"x","cookie":"1"}]}`, 0, "0 descriptors instead of 1"},

		{"hello without protocol", `{"type":"hello","pid":7}`, 0, "protocol must be 1 or more"},
		{"hello without pid", `{"type":"hello","protocol":1}`, 0, "pid cannot be 0"},
		{"hello with a huge pid", `{"type":"hello","protocol":1,"pid":99999999999}`, 0, "pid cannot be"},
		{"hello with an impossible pid", `{"type":"hello","protocol":1,"pid":1e400}`, 0, `field "pid" must be an integer in range`},
		{"hello with a pid in words", `{"type":"hello","protocol":1,"pid":"7"}`, 0, `field "pid" must be an integer in range, not string`},
		{"capabilities of another type", `{"type":"hello","protocol":1,"pid":7,"capabilities":"pause"}`, 0, `field "capabilities" must be an array`},
		{"too many capabilities", `{"type":"hello","protocol":1,"pid":7,"capabilities":[` + strings.Repeat(`"a",`, 40) + `"a"]}`, 0, "more than 32 capabilities"},
		{"bad capability", `{"type":"hello","protocol":1,"pid":7,"capabilities":["a b"]}`, 0, "must be printable"},
		{"long library", `{"type":"hello","protocol":1,"pid":7,"library":"` + long[:256] + `"}`, 0, "library is longer than 255 bytes"},
		{"library with an escape", `{"type":"hello","protocol":1,"pid":7,"library":"\u001b"}`, 0, "library must be printable"},

		{"welcome without service", `{"type":"welcome","protocol":1,"generation":1}`, 0, "service is missing"},
		{"welcome without generation", `{"type":"welcome","protocol":1,"service":"s"}`, 0, "generation cannot be 0"},
		{"negative listeners", `{"type":"welcome","protocol":1,"service":"s","generation":1,"listeners":-1}`, 0, "listeners must be from 0"},
		{"a million listeners", `{"type":"welcome","protocol":1,"service":"s","generation":1,"listeners":1000000}`, 0, "listeners must be from 0 to 16384"},
		{"negative duration", `{"type":"welcome","protocol":1,"service":"s","generation":1,"stats_ms":-1}`, 0, "stats_ms must be from 0"},
		{"long duration", `{"type":"welcome","protocol":1,"service":"s","generation":1,"ready_ms":9223372036854775807}`, 0, "ready_ms must be from 0"},
		{"probe of another type", `{"type":"welcome","protocol":1,"service":"s","generation":1,"probe":1}`, 0, `field "probe" must be true or false`},

		{"batch 0", listenersPacket(`"batch":0,"of":1`, oneListener), 1, "batch must be from 1 to 1"},
		{"batch 2 of 1", listenersPacket(`"batch":2,"of":1`, oneListener), 1, "batch must be from 1 to 1"},
		{"of 0", listenersPacket(`"batch":1`, oneListener), 1, "of must be from 1"},
		{"no listeners", listenersPacket(`"batch":1,"of":1`, ""), 0, "from 1 to 252 listeners, not 0"},
		{"253 listeners", listenersPacket(`"batch":1,"of":1`, strings.Repeat("{},", 252)+"{}"), 253, "from 1 to 252 listeners, not 253"},
		{"name twice", listenersPacket(`"batch":1,"of":1`, oneListener+","+oneListener), 2, `listener "a" is named twice`},
		{"no name", listenersPacket(`"batch":1,"of":1`, `{"network":"tcp","address":"x","cookie":"1"}`), 1, "name is missing"},
		{"name with a space", listenersPacket(`"batch":1,"of":1`, `{"name":"a b","network":"tcp","address":"x","cookie":"1"}`), 1, "name must be printable"},
		{"name with =", listenersPacket(`"batch":1,"of":1`, `{"name":"a=b","network":"tcp","address":"x","cookie":"1"}`), 1, "name must be printable"},
		{"name with an escape", listenersPacket(`"batch":1,"of":1`, `{"name":"\u001b","network":"tcp","address":"x","cookie":"1"}`), 1, "name must be printable"},
		{"long name", listenersPacket(`"batch":1,"of":1`, `{"name":"`+long[:256]+`","network":"tcp","address":"x","cookie":"1"}`), 1, "name is longer than 255 bytes"},
		{"unknown network", listenersPacket(`"batch":1,"of":1`, `{"name":"a","network":"sctp","address":"x","cookie":"1"}`), 1, `network "sctp" is not known`},
		{"no address", listenersPacket(`"batch":1,"of":1`, `{"name":"a","network":"tcp","cookie":"1"}`), 1, "address is missing"},
		{"long address", listenersPacket(`"batch":1,"of":1`, `{"name":"a","network":"tcp","address":"`+long[:600]+`","cookie":"1"}`), 1, "address is longer"},
		{"no cookie", listenersPacket(`"batch":1,"of":1`, `{"name":"a","network":"tcp","address":"x"}`), 1, "cookie is missing"},
		{"cookie as a number", listenersPacket(`"batch":1,"of":1`, `{"name":"a","network":"tcp","address":"x","cookie":1}`), 1, "must be a string of decimal digits, not number"},
		{"cookie in words", listenersPacket(`"batch":1,"of":1`, `{"name":"a","network":"tcp","address":"x","cookie":"one"}`), 1, "must be a string of decimal digits"},
		{"huge cookie", listenersPacket(`"batch":1,"of":1`, `{"name":"a","network":"tcp","address":"x","cookie":"18446744073709551616"}`), 1, "must be a string of decimal digits"},

		{"received batch 0", `{"type":"received","count":1,"cookies":["1"]}`, 0, "batch must be from 1"},
		{"received negative count", `{"type":"received","batch":1,"count":-1}`, 0, "count must be from 0"},
		{"received many cookies", `{"type":"received","batch":1,"count":1,"cookies":[` + strings.Repeat(`"1",`, 252) + `"1"]}`, 0, "more than 252 cookies"},
		{"received bad cookie", `{"type":"received","batch":1,"count":1,"cookies":[{}]}`, 0, `must be a string of decimal digits`},

		{"long reason", `{"type":"failed","reason":"` + long[:5000] + `"}`, 0, "reason is longer than 4096 bytes"},
		{"long error", `{"type":"error","reason":"` + long[:5000] + `"}`, 0, "reason is longer than 4096 bytes"},
		{"reason of another type", `{"type":"failed","reason":["a"]}`, 0, `field "reason" must be a string, not array`},
		{"pause without id", `{"type":"pause"}`, 0, "id must be from 1"},
		{"pause with a negative id", `{"type":"pause","id":-1}`, 0, `field "id" must be an integer in range`},
		{"pause with a fraction", `{"type":"pause","id":1.5}`, 0, `field "id" must be an integer in range`},
		{"resume with a huge id", `{"type":"resume","id":18446744073709551615}`, 0, "id must be from 1"},
		{"drain without id", `{"type":"drain","deadline_ms":1}`, 0, "id must be from 1"},
		{"drain with a negative deadline", `{"type":"drain","id":1,"deadline_ms":-1}`, 0, "deadline_ms must be from 0"},
		{"paused without id", `{"type":"paused"}`, 0, "id must be from 1"},
		{"paused with a huge count", `{"type":"paused","id":1,"accepted":18446744073709551615}`, 0, "accepted must be"},
		{"resumed without id", `{"type":"resumed"}`, 0, "id must be from 1"},
		{"drained with a negative cut", `{"type":"drained","id":1,"cut":-1}`, 0, "cut cannot be -1"},
		{"stats of another type", `{"type":"stats","listeners":{}}`, 0, `field "listeners" must be an array`},
		{"stats without name", `{"type":"stats","listeners":[{"accepted":1}]}`, 0, "name is missing"},
		{"stats twice", `{"type":"stats","listeners":[{"name":"a"},{"name":"a"}]}`, 0, `"a" is named twice`},
		{"stats of an impossible program", `{"type":"stats","listeners":[],"program":-1}`, 0, "program: pid cannot be -1"},
		{"stats with negative active", `{"type":"stats","listeners":[{"name":"a","active":-1}]}`, 0, "active cannot be -1"},
		{"stats with negative age", `{"type":"stats","listeners":[{"name":"a","oldest_ms":-1}]}`, 0, "oldest_ms must be from 0"},
		{"stats with a long histogram", `{"type":"stats","listeners":[{"name":"a","durations":[` + strings.Repeat("1,", 64) + `1]}]}`, 0, "durations has more than 64 elements"},
		{"stats with a huge duration", `{"type":"stats","listeners":[{"name":"a","durations":[18446744073709551615]}]}`, 0, "an element of durations must be"},
		{"stats with a long sojourn", `{"type":"stats","listeners":[{"name":"a","sojourn":[` + strings.Repeat("1,", 64) + `1]}]}`, 0, "sojourn has more than 64 elements"},
		{"stats with a negative sojourn", `{"type":"stats","listeners":[{"name":"a","sojourn":[1,-1]}]}`, 0, "must be an integer in range"},
		{"stats with a huge sojourn", `{"type":"stats","listeners":[{"name":"a","sojourn":[9007199254740992]}]}`, 0, "an element of sojourn must be"},
		{"stats with huge answers", `{"type":"stats","listeners":[{"name":"a","answered":9007199254740992}]}`, 0, "answered must be"},
		{"welcome with a relative rendezvous", welcomePacket(`"rendezvous":"r.sock","token":"` + testToken + `"`), 0, "rendezvous must be an absolute path"},
		{"welcome with a long rendezvous", welcomePacket(`"rendezvous":"/` + long[:107] + `","token":"` + testToken + `"`), 0, "rendezvous is longer than 107 bytes"},
		{"welcome with a rendezvous with an escape", welcomePacket(`"rendezvous":"/\u001b","token":"` + testToken + `"`), 0, "rendezvous must be printable"},
		{"welcome with a rendezvous with a zero", welcomePacket(`"rendezvous":"/a\u0000b","token":"` + testToken + `"`), 0, "rendezvous must be printable"},
		{"welcome without a token", welcomePacket(`"rendezvous":"/r.sock"`), 0, "token must be from 16 to 128 hexadecimal digits"},
		{"welcome with a token alone", welcomePacket(`"token":"` + testToken + `"`), 0, "a token comes without a rendezvous"},
		{"welcome with a long token", welcomePacket(`"rendezvous":"/r","token":"` + strings.Repeat("a", 129) + `"`), 0, "token must be"},
		{"rejoin without protocol", `{"type":"rejoin","pid":7}`, 0, "protocol must be 1 or more"},
		{"rejoin without pid", rejoinPacket(`"pid":0`), 0, "pid cannot be 0"},
		{"rejoin without service", rejoinPacket(`"service":""`), 0, "service is missing"},
		{"rejoin without generation", rejoinPacket(`"generation":0`), 0, "generation cannot be 0"},
		{"rejoin with a huge generation", rejoinPacket(`"generation":2147483648`), 0, "generation cannot be 2147483648"},
		{"rejoin with too many listeners", rejoinPacket(`"listeners":16385`), 0, "listeners must be from 0 to 16384"},
		{"rejoin with negative listeners", rejoinPacket(`"listeners":-1`), 0, "listeners must be from 0"},
		{"rejoin without token", rejoinPacket(`"token":""`), 0, "token must be from 16"},
		{"rejoin with a short token", rejoinPacket(`"token":"0123456789abcde"`), 0, "token must be from 16"},
		{"rejoin with a token in words", rejoinPacket(`"token":"let me in, please"`), 0, "token must be from 16"},
		{"rejoin with a token of another type", rejoinPacket(`"token":1234567890123456`), 0, `field "token" must be a string, not number`},
		{"rejoin with too many capabilities", rejoinPacket(`"capabilities":[` + strings.Repeat(`"a",`, 32) + `"a"]`), 0, "more than 32 capabilities"},
		{"rejoin with a long library", rejoinPacket(`"library":"` + long[:256] + `"`), 0, "library is longer"},
		{"rejoin with ready in words", rejoinPacket(`"ready":"yes"`), 0, `field "ready" must be true or false`},
		{"rejoin with a descriptor", rejoinPacket(`"listeners":1`), 1, "it came with 1 descriptors instead of 0"},
		{"kept in words", listenersPacket(`"batch":1,"of":1`, `{"name":"a","network":"tcp","address":"x","cookie":"1","kept":"yes"}`), 1, `must be true or false`},
		{"hold of another type", `{"type":"hold","on":1}`, 0, `field "on" must be true or false`},
	}
}

const oneListener = `{"name":"a","network":"tcp","address":"x","cookie":"1"}`

func welcomePacket(fields string) string {
	return `{"type":"welcome","protocol":1,"service":"s","generation":1,` + fields + `}`
}

// rejoinPacket is a good rejoin but for the fields, which come last: the last
// one of a name counts.
func rejoinPacket(fields string) string {
	return `{"type":"rejoin","protocol":1,"pid":7,"service":"test","generation":1,"token":"` + testToken + `","listeners":0,` + fields + `}`
}

func listenersPacket(head, listeners string) string {
	return `{"type":"listeners",` + head + `,"listeners":[` + listeners + `]}`
}

// Each packet arrives at a channel that is used again right after it.
func TestBadPacketIsAnErrorAndTheChannelStaysUsable(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	fd := listenTCP(t)
	for _, c := range badPackets() {
		t.Run(c.name, func(t *testing.T) {
			leaktest.Check(t)
			fds := make([]int, c.descriptors)
			for i := range fds {
				fds[i] = fd
			}
			if err := child.sendRaw([]byte(c.packet), fds...); err != nil {
				t.Fatal(err)
			}
			_, got, err := supervisor.Receive()
			wantMessageError(t, err, c.text)
			if len(got) != 0 {
				t.Errorf("descriptors %v came with an error", got)
			}
			if err := child.Send(Ready{}); err != nil {
				t.Fatal(err)
			}
			if m, _, err := supervisor.Receive(); err != nil || m != (Ready{}) {
				t.Errorf("afterwards: %v, %v", m, err)
			}
		})
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	for packet, want := range map[string]Message{
		`{"type":"pause","id":1,"why":{"a":[1,null]}}`:        Pause{ID: 1},
		" \n{ \"id\" : 2, \"x\":1e999, \"type\":\"resume\" }": Resume{ID: 2},
		`{"type":"ready","service":"s"}`:                      Ready{},
		`{"type":"hello","protocol":9,"anything":true}`:       Hello{Protocol: 9},
	} {
		if err := supervisor.sendText(packet); err != nil {
			t.Fatal(err)
		}
		m, _, err := child.Receive()
		if err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%s: got %#v, %v", packet, m, err)
		}
	}
}

func TestUnknownTypeCanBeToldFromNonsense(t *testing.T) {
	t.Parallel()
	for packet, unknown := range map[string]bool{
		`{"type":"restart","id":{}}`: true,
		`{"type":"pause"}`:           false,
		`{"type":7}`:                 false,
	} {
		if _, err := decode([]byte(packet)); errors.Is(err, ErrUnknownType) != unknown {
			t.Errorf("%s: %v", packet, err)
		}
	}
}

// An empty packet must not be taken for the end, not even just before it.
func TestEmptyPacketIsNotTheEnd(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	if err := child.sendRaw(nil); err != nil {
		t.Fatal(err)
	}
	if err := child.Send(Ready{}); err != nil {
		t.Fatal(err)
	}
	child.Close()
	_, _, err := supervisor.Receive()
	wantMessageError(t, err, "the packet is empty")
	if m, _, err := supervisor.Receive(); err != nil || m != (Ready{}) {
		t.Errorf("got %v, %v", m, err)
	}
	if _, _, err := supervisor.Receive(); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestEmptyPacketsBeforeTheEndEndInEOF(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	for range 3 {
		if err := child.sendRaw(nil); err != nil {
			t.Fatal(err)
		}
	}
	child.Close()
	for range 4 {
		_, _, err := supervisor.Receive()
		if err == io.EOF {
			return
		}
		wantMessageError(t, err, "the packet is empty")
	}
	t.Error("the end was not reported")
}

// The kernel itself refuses to carry more: this keeps MaxBatch honest.
func TestKernelLimitOfDescriptors(t *testing.T) {
	leaktest.Check(t)
	_, child := conns(t)
	fd := listenTCP(t)
	fds := make([]int, kernelBatch+1)
	for i := range fds {
		fds[i] = fd
	}
	if err := child.sendText(`{"type":"ready"}`, fds...); !errors.Is(err, unix.EINVAL) {
		t.Errorf("254 descriptors: %v, want EINVAL", err)
	}
	if MaxBatch > kernelBatch {
		t.Errorf("MaxBatch is %d", MaxBatch)
	}
}

// Descriptors that nobody received go with the channel.
func TestUnreadDescriptorsAreClosedWithTheChannel(t *testing.T) {
	leaktest.Check(t)
	supervisor, child := conns(t)
	r, w := pipe(t)
	if err := child.sendText(`{"type":"ready"}`, w); err != nil {
		t.Fatal(err)
	}
	unix.Close(w)
	supervisor.Close()
	child.Close()
	if n, err := unix.Read(r, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read %d, %v; want the end of the pipe", n, err)
	}
}

func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]) })
	return p[0], p[1]
}
