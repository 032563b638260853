package main

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/supervisor/internal/load"
	"github.com/spf13/cobra"
)

func TestURLsAreTakenApart(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://127.0.0.1:80":       "http://127.0.0.1:80 ",
		"http://127.0.0.1/":         "http://127.0.0.1 /",
		"https://[::1]:443/a?b=c":   "https://[::1]:443 /a?b=c",
		"http://h?x":                "http://h /?x",
		"unix:///run/a.sock":        "unix:///run/a.sock ",
		"unix://@name":              "unix://@name ",
		"tcp://127.0.0.1:7":         "tcp://127.0.0.1:7 ",
		"tcp://127.0.0.1:7/":        "tcp://127.0.0.1:7 ",
		"tcp://127.0.0.1:7/path":    "tcp:// has no path",
		"127.0.0.1:80":              "is no URL: no scheme; is it http://127.0.0.1:80?",
		"http://":                   "names no host",
		"http:///path":              "names no host",
		"http://:8080/":             "http://:8080 /",
		"http://h:65536/":           "has a port that is not from 1 to 65535",
		"tcp://h:0":                 "has a port that is not from 1 to 65535",
		"http://[::1]/":             "http://[::1] /",
		"http://u:p@127.0.0.1/":     "has a user in it",
		"http://127.0.0.1/#there":   "has a fragment",
		"http://127.0.0.1/#":        "has a fragment",
		"http://127.0.0.1:port/":    "is no URL",
		"http://127.0.0.1/%zz":      "is no URL",
		"http://127.0.0.1/a%20b?c ": "http://127.0.0.1 /a%20b?c ",
	} {
		target, path, err := splitURL(text)
		got := target + " " + path
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != want || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// parsed is the traffic that flags ask for.
func parsed(flags ...string) (load.Config, error) {
	var f trafficFlags
	cmd := &cobra.Command{}
	f.add(cmd)
	if err := cmd.ParseFlags(flags[1:]); err != nil {
		return load.Config{}, err
	}
	return f.config(cmd, flags[0])
}

func TestTrafficIsWhatTheFlagsSay(t *testing.T) {
	t.Parallel()
	c, err := parsed("http://h/p?q", "--rate", "7", "--keep-alive", "4", "--keep-alive-rate", "20", "--http2", "2", "--http2-rate", "9",
		"--slow", "3", "--slow-path", "/slow", "--streams", "1", "--method", "PUT", "--body-bytes", "9", "--echo", "--status", "201",
		"--header", "Host: other", "--header", "X-A: 1", "--header", "x-a:2", "--requests", "11", "--max-in-flight", "5")
	if err != nil {
		t.Fatal(err)
	}
	if c.Target != "http://h" || c.Requests != 11 || c.MaxInFlight != 5 || len(c.Traffic) != 5 {
		t.Fatalf("%+v", c)
	}
	want := []load.Traffic{
		{Name: "new connections", Pattern: load.NewConnection, Rate: 7, Path: "/p?q"},
		{Name: "keep-alive", Pattern: load.KeepAlive, Clients: 4, Rate: 5, Path: "/p?q"},
		{Name: "HTTP/2", Pattern: load.KeepAlive, HTTP2: true, Clients: 2, Rate: 4.5, Path: "/p?q"},
		{Name: "slow requests", Pattern: load.InFlight, Clients: 3, Path: "/slow"},
		{Name: "streams", Pattern: load.InFlight, Clients: 1, Path: "/p?q"},
	}
	for i, w := range want {
		got := c.Traffic[i]
		if got.Name != w.Name || got.Pattern != w.Pattern || got.Rate != w.Rate || got.Clients != w.Clients || got.HTTP2 != w.HTTP2 || got.Path != w.Path {
			t.Errorf("%+v, want %+v", got, w)
		}
		if got.Method != "PUT" || got.PayloadBytes != 9 || !got.Echo || got.Status != 201 || got.Host != "other" || strings.Join(got.Header["X-A"], " ") != "1 2" {
			t.Errorf("%s asks otherwise: %+v", got.Name, got)
		}
	}
	c, err = parsed("tcp://127.0.0.1:7")
	if err != nil || !c.Traffic[0].Raw || c.Traffic[0].PayloadBytes != rawBytes {
		t.Errorf("%v %+v", err, c)
	}
	if _, err = parsed("http://h/p", "--path", "/q"); err == nil || !strings.Contains(err.Error(), "the URL has one already") {
		t.Error(err)
	}
}

func TestAuthoritiesAreReadFromAFile(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parsed(s.URL, "--ca", file)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Reach(t.Context()); err != nil {
		t.Error(err)
	}
	if c, err = parsed(s.URL); err == nil {
		err = c.Reach(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Error(err)
	}
	if _, err = parsed(s.URL, "--ca", os.DevNull); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Error(err)
	}
}

func TestSameEndComparesPortsAndPaths(t *testing.T) {
	t.Parallel()
	for pair, want := range map[[2]string]bool{
		{"0.0.0.0:80", "http://127.0.0.1:80"}:    true,
		{"[::]:80", "https://127.0.0.1:80"}:      true,
		{"0.0.0.0:81", "http://127.0.0.1:80"}:    false,
		{"/run/a", "unix:///run/a"}:              true,
		{"/run/b", "unix:///run/a"}:              false,
		{"/run/b", "http://127.0.0.1:80"}:        false,
		{"127.0.0.1:80", "http://127.0.0.1"}:     true,
		{"127.0.0.1:443", "https://example.org"}: true,
	} {
		if sameEnd(pair[0], pair[1]) != want {
			t.Errorf("%v: want %v", pair, want)
		}
	}
}
