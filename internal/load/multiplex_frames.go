package load

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/net/http2"
)

// errNoHTTP2 is in all errors of servers that do not speak it.
var errNoHTTP2 = errors.New("the server does not speak HTTP/2")

// read takes what the server sends until nothing more comes.
func (m *multiplex) read() {
	for n := 0; ; n++ {
		f, err := m.framer.ReadFrame()
		var of http2.StreamError
		switch {
		case errors.As(err, &of):
			m.forsake(of)
			continue
		case err == nil && n == 0 && f.Header().Type != http2.FrameSettings:
			err = fmt.Errorf("%w: its first frame is %v", errNoHTTP2, f.Header().Type)
		case err == nil:
			err = m.take(f)
		case n == 0 && !errors.Is(err, io.EOF) && classify(err) == Other:
			err = fmt.Errorf("%w: %w", errNoHTTP2, err)
		}
		if err != nil {
			m.fail(err)
			return
		}
	}
}

// forsake ends a stream on which the server sent what may not be (RFC 9113,
// 5.4.2).
func (m *multiplex) forsake(broken http2.StreamError) {
	m.mu.Lock()
	if x := m.streams[broken.StreamID]; x != nil {
		m.end(x, x.locate(broken))
		m.announce()
	}
	m.mu.Unlock()
	m.write(func() error { return m.framer.WriteRSTStream(broken.StreamID, broken.Code) }) //nolint:errcheck // has been noted
}

// take does what one frame says. An error is one of the whole connection.
func (m *multiplex) take(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return m.takeHead(f)
	case *http2.DataFrame:
		return m.takeData(f)
	case *http2.RSTStreamFrame:
		return m.takeReset(f)
	case *http2.SettingsFrame:
		return m.takeSettings(f)
	case *http2.WindowUpdateFrame:
		return m.takeWindow(f)
	case *http2.GoAwayFrame:
		m.takeLeave(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return m.write(func() error { return m.framer.WritePing(true, f.Data) })
		}
	case *http2.PushPromiseFrame:
		return errors.New("the server pushes, which it was told not to")
	}
	return nil
}

// stream finds the stream of a frame; nil for one that has ended. mu is held.
func (m *multiplex) stream(f http2.Frame) (*stream, error) {
	id := f.Header().StreamID
	if id%2 == 0 || id >= m.next {
		return nil, fmt.Errorf("the server sent %v for stream %d, which nobody opened", f.Header().Type, id)
	}
	return m.streams[id], nil
}

func (m *multiplex) takeHead(f *http2.MetaHeadersFrame) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, err := m.stream(f)
	if x == nil || err != nil {
		return err
	}
	x.progress(int(f.Length))
	switch err := x.head(f); {
	case err != nil:
		m.end(x, x.locate(err))
	case f.StreamEnded():
		m.end(x, x.complete())
	default:
		return nil
	}
	m.announce()
	return nil
}

func (m *multiplex) takeData(f *http2.DataFrame) error {
	m.mu.Lock()
	x, err := m.stream(f)
	if err != nil {
		m.mu.Unlock()
		return err
	}
	m.unread += int64(f.Length)
	whole := m.unread
	if whole < connectionWindow/2 {
		whole = 0
	}
	m.unread -= whole
	var part int64
	if x != nil {
		x.progress(int(f.Length))
		x.body.add(f.Data())
		if x.unread += int64(f.Length); x.unread >= streamWindow/2 {
			part, x.unread = x.unread, 0
		}
		if f.StreamEnded() {
			part = 0
			m.end(x, x.complete())
			m.announce()
		}
	}
	m.mu.Unlock()
	if whole+part == 0 {
		return nil
	}
	return m.write(func() error { return m.grant(f.StreamID, part, whole) })
}

// grant tells the server that it may send more, on a stream and over all.
func (m *multiplex) grant(id uint32, part, whole int64) error {
	if part > 0 {
		if err := m.framer.WriteWindowUpdate(id, uint32(part)); err != nil {
			return err
		}
	}
	if whole > 0 {
		return m.framer.WriteWindowUpdate(0, uint32(whole))
	}
	return nil
}

// takeReset ends a stream that the server gives up. With REFUSED_STREAM it says
// that it did nothing with the request (RFC 9113, 8.7).
func (m *multiplex) takeReset(f *http2.RSTStreamFrame) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, err := m.stream(f)
	if x == nil || err != nil {
		return err
	}
	reset := fmt.Errorf("%w with %v", errStreamReset, f.ErrCode)
	if f.ErrCode == http2.ErrCodeRefusedStream && x.got == 0 {
		reset = fmt.Errorf("%w: %w", errUntouched, reset)
	}
	m.end(x, x.locate(reset))
	m.announce()
	return nil
}

// takeLeave ends the streams that the server says it did not and will not look
// at (RFC 9113, 6.8). The others go on.
func (m *multiplex) takeLeave(f *http2.GoAwayFrame) {
	leave := *f
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving = &leave
	for id, x := range m.streams {
		if id > f.LastStreamID {
			m.end(x, fmt.Errorf("%w: GOAWAY with %v after stream %d, this is %d", errUntouched, f.ErrCode, f.LastStreamID, id))
		}
	}
	m.announce()
}

func (m *multiplex) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	m.mu.Lock()
	m.settled = true
	err := f.ForeachSetting(m.set)
	m.announce()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.write(func() error {
		if size, ok := f.Value(http2.SettingHeaderTableSize); ok {
			m.encoder.SetMaxDynamicTableSize(min(size, 4096))
		}
		return m.framer.WriteSettingsAck()
	})
}

// set follows one setting; mu is held.
func (m *multiplex) set(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingMaxConcurrentStreams:
		m.most = s.Val
	case http2.SettingMaxFrameSize:
		m.frame = int(s.Val)
	case http2.SettingInitialWindowSize:
		grown := int64(s.Val) - m.first
		m.first = int64(s.Val)
		for _, x := range m.streams { // 6.9.2
			x.window += grown
		}
	}
	return nil
}

func (m *multiplex) takeWindow(f *http2.WindowUpdateFrame) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.announce()
	if f.StreamID == 0 {
		m.window += int64(f.Increment)
		return nil
	}
	x, err := m.stream(f)
	if x != nil {
		x.window += int64(f.Increment)
	}
	return err
}
