package service

const (
	// frameHeader is the length of the header of an HTTP/2 frame; its first
	// three bytes are the length of the rest, then come the type and the flags
	// (RFC 9113, 4.1).
	frameHeader = 9
	// clientPreface is the length of what a client sends before its first frame
	// (RFC 9113, 3.4).
	clientPreface = 24
)

// frames finds the ends of HTTP/2 frames in one direction of a connection.
type frames struct {
	header  [frameHeader]byte
	have    int // bytes of header seen
	payload int // bytes of the frame's payload, or the preface, still to come
}

// follow goes on with b.
func (f *frames) follow(b []byte) {
	for len(b) > 0 {
		if f.payload > 0 {
			n := min(f.payload, len(b))
			f.payload -= n
			b = b[n:]
			continue
		}
		n := copy(f.header[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have == frameHeader {
			f.payload = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
			f.have = 0
		}
	}
}

// between reports whether a frame has ended here.
func (f *frames) between() bool { return f.have == 0 && f.payload == 0 }

// whole reports whether besides the header block of a request, if the last
// frame was a part of one, is complete (RFC 9113, 6.2 and 6.10).
func (f *frames) whole() bool {
	const headers, continuation, endHeaders = 1, 9, 4
	kind, flags := f.header[3], f.header[4]
	return f.between() && (kind != headers && kind != continuation || flags&endHeaders != 0)
}
