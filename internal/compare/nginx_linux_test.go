package compare

import (
	"os"
	"syscall"
)

// nginx is a reload of nginx before the service: "Controlling nginx" and
// ngx_http_upstream_module of its documentation, keepalive to the service included.
func nginx(server string) peer {
	configuration := nginxConfiguration
	if os.Geteuid() == 0 {
		configuration = "user root; # the folder is a test's\n" + configuration
	}
	return proxy{
		name: "nginx reload", program: "nginx", server: server,
		words:  []string{"nginx", "-p", "$DIR", "-c", "$DIR/nginx.conf", "-g", "daemon off;"},
		check:  []string{"nginx", "-p", "$DIR", "-c", "$DIR/nginx.conf", "-t"},
		reload: syscall.SIGHUP, graceful: syscall.SIGTERM,
		file: "nginx.conf", configuration: configuration,
		number: []string{"nginx", "-v"},
		remarks: "A script starts the new version at another port, asks its `/health` until it is well (for 3 s), writes the configuration, " +
			"tries it (`nginx -t`), reloads (SIGHUP), waits until the old processes of nginx have ended and sends SIGTERM to the old version, " +
			"which ends by `http.Server.Shutdown` with nobody left to use it. The listener stays open. nginx's old processes close idle " +
			"connections of clients at once, while a request may be on its way: this is what keep-alive can lose. Nothing watches the new version; " +
			"where it stops accepting, nginx goes on with the connections to it that it has kept, as long as they are enough.",
	}
}

const nginxConfiguration = `pid $DIR/nginx.pid;
error_log $DIR/nginx.log;
worker_processes auto;
worker_shutdown_timeout 15s;
events {
    worker_connections 4096;
}
http {
    access_log off;
    client_body_temp_path $DIR/body;
    proxy_temp_path $DIR/proxy;
    fastcgi_temp_path $DIR/fastcgi;
    uwsgi_temp_path $DIR/uwsgi;
    scgi_temp_path $DIR/scgi;
    upstream service {
        server $BACKEND;
        keepalive 64;
    }
    server {
        listen $ADDRESS;
        location / {
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
`
