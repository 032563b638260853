package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/internal/load"
	"github.com/spf13/cobra"
)

// trafficFlags say what traffic is sent, and what is expected of the answers.
type trafficFlags struct {
	rate                            float64
	keepAlive, http2, slow, streams int
	keepAliveRate, http2Rate        float64
	path, slowPath, streamPath      string
	method, expect                  string
	headers                         []string
	bodyBytes, status, maxInFlight  int
	echo, insecure                  bool
	ca, generationHeader            string
	duration, timeout               time.Duration
	requests                        uint64
}

// maxLoad is the longest run.
const maxLoad = 24 * time.Hour

// rawBytes is what is sent to a server that echoes bytes, by default.
const rawBytes = 128

func (f *trafficFlags) add(cmd *cobra.Command) {
	*f = trafficFlags{rate: 100, keepAliveRate: 100, http2Rate: 100, status: http.StatusOK, duration: 10 * time.Second, timeout: load.DefaultTimeout}
	flags := cmd.Flags()
	flags.Float64Var(&f.rate, "rate", f.rate, "new connections per `SECOND`, with one request each; 0 for none")
	flags.IntVar(&f.keepAlive, "keep-alive", 0, "`CLIENTS` that keep a connection of HTTP/1.1")
	flags.Float64Var(&f.keepAliveRate, "keep-alive-rate", f.keepAliveRate, "requests per `SECOND` of all these clients together")
	flags.IntVar(&f.http2, "http2", 0, "`CLIENTS` that keep a connection of HTTP/2 (to http:// with prior knowledge)")
	flags.Float64Var(&f.http2Rate, "http2-rate", f.http2Rate, "requests per `SECOND` of all these clients together")
	flags.IntVar(&f.slow, "slow", 0, "`NUMBER` of slow requests that are always in flight")
	flags.StringVar(&f.slowPath, "slow-path", "", "`PATH` of slow requests (default: that of the URL)")
	flags.IntVar(&f.streams, "streams", 0, "`NUMBER` of streamed answers that are always in flight; of them, --timeout bounds the silence")
	flags.StringVar(&f.streamPath, "stream-path", "", "`PATH` of streams (default: that of the URL)")
	flags.StringVar(&f.path, "path", "", "`PATH` of the requests, where the URL has none, as that of a socket")
	flags.StringVar(&f.method, "method", "", "`METHOD` of the requests (default: GET, or POST with a body)")
	flags.StringArrayVar(&f.headers, "header", nil, "`FIELD` of the requests, as \"Name: value\"; may be given again")
	flags.IntVar(&f.bodyBytes, "body-bytes", 0, "send a body of this `LENGTH`, different in every request")
	flags.IntVar(&f.status, "status", f.status, "`STATUS` that an answer must have")
	flags.StringVar(&f.expect, "expect", "", "`TEXT` that an answer's body must be")
	flags.BoolVar(&f.echo, "echo", false, "an answer's body must be that of the request")
	flags.StringVar(&f.generationHeader, "generation-header", load.DefaultGenerationHeader, "`NAME` of the field by which an answer names the generation that gave it")
	flags.Var((*config.Duration)(&f.duration), "duration", "send requests for this `TIME`, or longer until the last verdict is known")
	flags.Uint64Var(&f.requests, "requests", 0, "end when so `MANY` requests were due, if that is before")
	flags.Var((*config.Duration)(&f.timeout), "timeout", "a request fails that has no answer after this `TIME`")
	flags.IntVar(&f.maxInFlight, "max-in-flight", 0, "`MANY` requests of a kind that may be due without an answer; more of them fail (default 4096, or twice the clients)")
	flags.StringVar(&f.ca, "ca", "", "`FILE` with the certificates (PEM) of the authorities that are trusted, besides those of the system")
	flags.BoolVar(&f.insecure, "insecure", false, "trust any certificate")
}

// config is the traffic to a URL. Errors name a flag.
func (f *trafficFlags) config(cmd *cobra.Command, text string) (load.Config, error) {
	target, path, err := splitURL(text)
	if err != nil {
		return load.Config{}, err
	}
	if path != "" && f.path != "" {
		return load.Config{}, fmt.Errorf("--path: the URL has one already, %s", path)
	}
	c := load.Config{
		Target: target, Duration: f.duration, Requests: f.requests, Timeout: f.timeout, MaxInFlight: f.maxInFlight,
		GenerationHeader: f.generationHeader,
	}
	if err := f.check(target); err != nil {
		return c, err
	}
	if c.TLS, err = f.trust(); err != nil {
		return c, err
	}
	request, err := f.request()
	if err != nil {
		return c, err
	}
	request.Path = path + f.path
	request.Raw = strings.HasPrefix(target, "tcp://")
	if request.Raw && !cmd.Flags().Changed("body-bytes") {
		request.PayloadBytes = rawBytes
	}
	c.Traffic = f.kinds(request)
	if len(c.Traffic) == 0 {
		return c, errors.New("no traffic: give --rate, --keep-alive, --http2, --slow or --streams")
	}
	return c, c.Validate()
}

// check refuses numbers that make no sense.
func (f *trafficFlags) check(target string) error {
	raw := strings.HasPrefix(target, "tcp://")
	switch {
	case f.duration <= 0 || f.duration > maxLoad:
		return fmt.Errorf("--duration: %v is not more than 0 and at most %v", f.duration, maxLoad)
	case f.timeout <= 0:
		return fmt.Errorf("--timeout must be more than 0: %v", f.timeout)
	case f.rate < 0:
		return fmt.Errorf("--rate: %v is negative", f.rate)
	case f.keepAlive < 0 || f.http2 < 0 || f.slow < 0 || f.streams < 0:
		return errors.New("--keep-alive, --http2, --slow and --streams cannot be negative")
	case f.echo && f.bodyBytes == 0 && !raw:
		return errors.New("--echo: nothing to be echoed; give --body-bytes")
	case f.echo && f.expect != "":
		return errors.New("both --echo and --expect given; one is enough")
	case raw && (f.http2 > 0 || f.slow > 0 || f.streams > 0 || f.path+f.method+f.expect != "" || len(f.headers) > 0):
		return errors.New("tcp:// has no HTTP; of the traffic there are --rate and --keep-alive, of the requests --body-bytes")
	case (f.ca != "" || f.insecure) && !strings.HasPrefix(target, "https://"):
		return errors.New("--ca and --insecure are for https:// alone")
	}
	return nil
}

// request is what all requests have in common.
func (f *trafficFlags) request() (load.Traffic, error) {
	t := load.Traffic{Method: f.method, PayloadBytes: f.bodyBytes, Status: f.status, Echo: f.echo, Body: f.expect, Header: http.Header{}}
	for _, field := range f.headers {
		name, value, ok := strings.Cut(field, ":")
		if !ok || name == "" {
			return t, fmt.Errorf("--header: %q is not \"Name: value\"", field)
		}
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "Host") {
			t.Host = value
			continue
		}
		t.Header.Add(name, value)
	}
	return t, nil
}

// kinds are the kinds of traffic that were asked for, the open loops first.
func (f *trafficFlags) kinds(request load.Traffic) []load.Traffic {
	var all []load.Traffic
	add := func(name string, n bool, pattern load.Pattern, with func(t *load.Traffic)) {
		if !n {
			return
		}
		t := request
		t.Name, t.Pattern = name, pattern
		with(&t)
		all = append(all, t)
	}
	add("new connections", f.rate > 0, load.NewConnection, func(t *load.Traffic) { t.Rate = f.rate })
	add("keep-alive", f.keepAlive > 0, load.KeepAlive, func(t *load.Traffic) {
		t.Clients, t.Rate = f.keepAlive, f.keepAliveRate/float64(f.keepAlive)
	})
	add("HTTP/2", f.http2 > 0, load.KeepAlive, func(t *load.Traffic) {
		t.HTTP2, t.Clients, t.Rate = true, f.http2, f.http2Rate/float64(f.http2)
	})
	add("slow requests", f.slow > 0, load.InFlight, func(t *load.Traffic) { t.Clients, t.Path = f.slow, or(f.slowPath, t.Path) })
	add("streams", f.streams > 0, load.InFlight, func(t *load.Traffic) { t.Clients, t.Path = f.streams, or(f.streamPath, t.Path) })
	return all
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// trust is whom to trust; nil for whom the system trusts.
func (f *trafficFlags) trust() (*tls.Config, error) {
	if f.ca == "" && !f.insecure {
		return nil, nil
	}
	c := &tls.Config{InsecureSkipVerify: f.insecure}
	if f.ca == "" {
		return c, nil
	}
	text, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	if c.RootCAs, err = x509.SystemCertPool(); err != nil {
		c.RootCAs = x509.NewCertPool()
	}
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca: there is no certificate in PEM in %s", f.ca)
	}
	return c, nil
}

// splitURL takes a URL apart: what package load calls a target, and the path
// and query of requests, "" for none.
func splitURL(text string) (target, path string, err error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if ok && scheme == "unix" {
		return text, "", nil
	}
	if !ok {
		return "", "", fmt.Errorf("%q is no URL: no scheme; is it http://%s?", text, text)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%q is no URL: %w", text, errors.Unwrap(err))
	case u.Hostname() == "" && u.Port() == "":
		return "", "", fmt.Errorf("%q names no host; for example http://127.0.0.1:8080/", text)
	case u.Port() != "" && !isPort(u.Port()):
		return "", "", fmt.Errorf("%q has a port that is not from 1 to 65535", text)
	case u.User != nil:
		return "", "", errors.New("the URL has a user in it; give --header \"Authorization: ...\"")
	case u.Fragment != "" || strings.Contains(rest, "#"):
		return "", "", errors.New("the URL has a fragment (#), which is never sent")
	}
	path = u.RequestURI()
	if path == "/" && !strings.HasSuffix(rest, "/") || scheme == "tcp" && path == "/" {
		path = ""
	}
	if scheme == "tcp" && path != "" {
		return "", "", errors.New("tcp:// has no path")
	}
	return scheme + "://" + u.Host, path, nil
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}
