package health

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// maxLine is how much of a line of somebody's output goes into a reason.
const maxLine = 200

// HTTP is a Probe that sends one GET request over a Unix socket. All is well
// if the status is 2xx.
type HTTP struct {
	// Socket is the path of the Unix stream socket.
	Socket string
	// Path is the path and query to ask for. Default "/".
	Path string
	// Timeout bounds the whole exchange. Default DefaultTimeout.
	Timeout time.Duration
}

// Check asks once, over a connection of its own. The reason names the path,
// and the status with the first line of the body if there was an answer.
func (h HTTP) Check(ctx context.Context) error {
	path := "/" + strings.TrimPrefix(cmp.Or(h.Path, "/"), "/")
	bound, cancel, timeout := bounded(ctx, h.Timeout)
	defer cancel()
	if err := h.get(bound, path); err != nil {
		if ctx.Err() == nil && bound.Err() != nil {
			err = noAnswer(bound.Err(), timeout)
		}
		return fmt.Errorf("probe GET %s: %w", path, err)
	}
	return nil
}

func (h HTTP) get(ctx context.Context, path string) error {
	// The host is a name only: the connection goes to the socket.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://probe"+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "supervisor-probe")
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.Socket)
		},
	}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request) // a redirect is not 2xx
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 == 2 {
		return nil
	}
	if line := firstLine(response.Body); line != "" {
		return fmt.Errorf("status %s: %s", response.Status, line)
	}
	return fmt.Errorf("status %s", response.Status)
}

// firstLine returns the first line that is not blank, shortened.
func firstLine(r io.Reader) string {
	lines := bufio.NewScanner(io.LimitReader(r, 4096))
	for lines.Scan() {
		if line := shorten(lines.Text()); line != "" {
			return line
		}
	}
	return ""
}

// shorten makes a line of foreign output fit for a message.
func shorten(line string) string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(line, "\ufffd"))
	line = strings.TrimSpace(line)
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "") + "..."
	}
	return line
}
