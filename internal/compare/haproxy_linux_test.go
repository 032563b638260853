package compare

import "syscall"

// haproxy is a reload of HAProxy before the service, in its mode of one process
// that has others do the work (-W): section 3 of its management guide, with
// listeners handed over by "expose-fd listeners", and "option
// idle-close-on-response" of its configuration manual for clients that keep their
// connections.
func haproxy(server string) peer {
	return proxy{
		name: "HAProxy reload", program: "haproxy", server: server,
		words:  []string{"haproxy", "-W", "-f", "$DIR/haproxy.cfg"},
		check:  []string{"haproxy", "-c", "-f", "$DIR/haproxy.cfg"},
		reload: syscall.SIGUSR2, graceful: syscall.SIGTERM,
		file: "haproxy.cfg", configuration: haproxyConfiguration,
		number: []string{"haproxy", "-v"},
		remarks: "As with nginx: `haproxy -c`, then SIGUSR2 to `haproxy -W`, with `expose-fd listeners`, `option idle-close-on-response` and health " +
			"checks of the service every 500 ms. The listener is handed over, and clients that keep their connections are told to go with an " +
			"answer. The health checks find a version that turns bad, and then there is no other to go to. (Who keeps the old version running " +
			"as a `backup` server has one, and stops it by hand later; with nginx likewise.)",
	}
}

const haproxyConfiguration = `global
    maxconn 4096
    hard-stop-after 15s
    stats socket $DIR/stats.sock mode 600 level admin expose-fd listeners

defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    option idle-close-on-response
    option redispatch

frontend web
    bind $ADDRESS
    default_backend service

backend service
    option httpchk GET /health
    server now $BACKEND check inter 500ms
`
