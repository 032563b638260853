package load

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// A script is what one Traffic says on a connection and what it expects.
type script struct {
	Traffic
	// request is the whole request; its last PayloadBytes are the payload. Of
	// HTTP/2 it is the payload alone, and fields are the rest.
	request []byte
	fields  []hpack.HeaderField
	method  *http.Request // tells ReadResponse of HEAD; only read
	header  string        // names the generation
}

func newScript(t Traffic, to target, generationHeader string) *script {
	s := &script{Traffic: t, method: &http.Request{Method: t.Method}, header: generationHeader}
	if t.HTTP2 { // field names are in small letters (RFC 9113, 8.2)
		s.header = strings.ToLower(generationHeader)
	}
	switch {
	case t.HTTP2:
		s.fields = fieldsOf(t, to)
	case !t.Raw:
		s.request = headOf(t, to)
	}
	s.request = append(s.request, strings.Repeat("supervisor load ", t.PayloadBytes/16+1)[:t.PayloadBytes]...)
	return s
}

// userAgent says who sends a request, unless a Traffic has a word for it.
const userAgent = "supervisor-load"

// headOf writes a request of HTTP/1.1 up to its body.
func headOf(t Traffic, to target) []byte {
	head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n", t.Method, t.Path, cmp.Or(t.Host, to.host))
	if t.Header.Get("User-Agent") == "" {
		head = fmt.Appendf(head, "User-Agent: %s\r\n", userAgent)
	}
	var further bytes.Buffer
	t.Header.Write(&further) //nolint:errcheck // a buffer takes everything
	head = append(head, further.Bytes()...)
	if t.PayloadBytes > 0 {
		head = fmt.Appendf(head, "Content-Length: %d\r\n", t.PayloadBytes)
	}
	if t.Pattern != KeepAlive {
		head = append(head, "Connection: close\r\n"...)
	}
	return append(head, "\r\n"...)
}

// fieldsOf is headOf for HTTP/2.
func fieldsOf(t Traffic, to target) []hpack.HeaderField {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: t.Method},
		{Name: ":scheme", Value: to.urlScheme()},
		{Name: ":authority", Value: cmp.Or(t.Host, to.host)},
		{Name: ":path", Value: t.Path},
	}
	if t.Header.Get("User-Agent") == "" {
		fields = append(fields, hpack.HeaderField{Name: "user-agent", Value: userAgent})
	}
	for _, name := range slices.Sorted(maps.Keys(t.Header)) {
		for _, value := range t.Header[name] {
			fields = append(fields, hpack.HeaderField{Name: strings.ToLower(name), Value: value})
		}
	}
	if t.PayloadBytes > 0 {
		fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(t.PayloadBytes)})
	}
	return fields
}

// expects is what the answer to a payload should be.
func (s *script) expects(payload []byte) bodyCheck {
	if s.Body != "" {
		return bodyCheck{want: []byte(s.Body), exact: true}
	}
	return bodyCheck{want: payload, exact: s.Echo}
}

// numberDigits is how many bytes of a payload tell it from all others.
const numberDigits = 12

// write writes the request with the given number into buffer, which is grown
// as needed, and returns it with the payload in it.
func (s *script) write(buffer []byte, number uint64) (request, payload []byte) {
	request = append(buffer[:0], s.request...)
	payload = request[len(request)-s.PayloadBytes:]
	for i := min(numberDigits, len(payload)) - 1; i >= 0; i-- {
		payload[i] = "0123456789abcdef"[number%16]
		number /= 16
	}
	return request, payload
}

// An answer is what came back.
type answer struct {
	generation string
	// whole: it came to its end, so that the connection may have another one.
	whole bool
	// closes: the server said that it closes the connection.
	closes bool
}

// exchange sends one request on c and reads the answer to it.
func (s *script) exchange(c *connection, number uint64) (answer, error) {
	var payload []byte
	c.outgoing, payload = s.write(c.outgoing, number)
	c.answer = 0
	c.requests++
	_, err := c.Write(c.outgoing)
	var a answer
	switch {
	case err != nil:
	case s.Raw:
		a.whole, err = readEcho(c, payload)
	default:
		a, err = s.readHTTP(c, payload)
	}
	if err != nil && !a.whole {
		err = c.locate(err)
	}
	return a, err
}

// readEcho reads the payload back and reports whether all of it came.
func readEcho(c *connection, payload []byte) (whole bool, err error) {
	for len(payload) > 0 {
		part := c.buffer[:min(len(c.buffer), len(payload))]
		if _, err := io.ReadFull(c.reader, part); err != nil {
			return false, err
		}
		if !bytes.Equal(part, payload[:len(part)]) {
			return false, fail(Body, "echo is %q, want %q", clip(part), clip(payload[:len(part)]))
		}
		payload = payload[len(part):]
	}
	return true, nil
}

// readHTTP reads one response to the end of its body.
func (s *script) readHTTP(c *connection, payload []byte) (answer, error) {
	response, err := http.ReadResponse(c.reader, s.method)
	for err == nil && response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
		response, err = http.ReadResponse(c.reader, s.method)
	}
	if err != nil {
		return answer{}, err
	}
	body := s.expects(payload)
	err = body.read(response.Body, c.buffer)
	a := answer{generation: response.Header.Get(s.header), closes: response.Close, whole: err == nil}
	switch {
	case response.StatusCode != s.Status:
		return a, fail(Status, "status %s, want %d: %s", response.Status, s.Status, body.start())
	case err != nil:
		return a, err
	}
	return a, body.verdict(s.BodyBytes)
}

// A bodyCheck compares a body with the expected one while it is read.
type bodyCheck struct {
	want  []byte
	exact bool // the body must be want
	n     int64
	wrong bool
	first [messageBytes]byte // of the body
}

func (b *bodyCheck) read(r io.Reader, buffer []byte) error {
	for {
		n, err := r.Read(buffer)
		b.add(buffer[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (b *bodyCheck) add(p []byte) {
	if b.n < messageBytes {
		copy(b.first[b.n:], p)
	}
	if b.exact {
		rest := b.want[min(b.n, int64(len(b.want))):]
		b.wrong = b.wrong || !bytes.HasPrefix(rest, p)
	}
	b.n += int64(len(p))
}

func (b *bodyCheck) verdict(length int64) error {
	if b.exact && (b.wrong || b.n != int64(len(b.want))) {
		return fail(Body, "body of %d bytes is %q, want %d bytes %q", b.n, b.start(), len(b.want), clip(b.want))
	}
	if length > 0 && b.n != length {
		return fail(Body, "body of %d bytes, want %d", b.n, length)
	}
	return nil
}

func (b *bodyCheck) start() []byte { return b.first[:min(b.n, messageBytes)] }

// messageBytes is how much of a body an error tells.
const messageBytes = 80

func clip(p []byte) []byte { return p[:min(len(p), messageBytes)] }
