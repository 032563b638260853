package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.com/supervisor/service"
	"github.com/cloudflare/tableflip"
	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// supervised is package service's way: README.md, "A service in ten lines".
func supervised(o options, s settings) error {
	svc, err := service.Join(service.Config{Listen: []string{"http=tcp://" + o.address}})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler()}
	if s.Fault == stalls {
		// Package service would not stop accepting: the version takes the listener
		// for itself.
		l, err := svc.Listener("http")
		if err != nil {
			return err
		}
		go func() { _ = server.Serve(s.around(l)) }() // ends with the process
	} else if err := svc.ServeHTTP("http", server); err != nil {
		return err
	}
	svc.HandleHealth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.fine(w) }))
	s.afterReady()
	return svc.Run(context.Background())
}

// flipped is tableflip's way: Example_httpShutdown of its documentation.
func flipped(o options, s settings) error {
	upg, err := tableflip.New(tableflip.Options{PIDFile: o.pidFile, UpgradeTimeout: o.patience})
	if err != nil {
		return err
	}
	defer upg.Stop()
	go func() { // ends with the process
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		for range hangups {
			if err := upg.Upgrade(); err != nil {
				log.Println("Upgrade failed:", err)
			}
		}
	}()
	go func() { // ends with the process
		<-terminated()
		upg.Stop()
	}()
	l, err := upg.Listen("tcp", o.address)
	if err != nil {
		return err
	}
	return serveUntil(upg.Exit(), l, s, upg.Ready)
}

// activated is the way of a socket unit: systemd.socket(5), sd_notify(3).
func activated(_ options, s settings) error {
	listeners, err := activation.Listeners()
	if err != nil {
		return err
	}
	if len(listeners) != 1 {
		return fmt.Errorf("systemd passed %d sockets instead of one", len(listeners))
	}
	return serveUntil(terminated(), listeners[0], s, func() error {
		said, err := daemon.SdNotify(false, daemon.SdNotifyReady)
		if err == nil && !said {
			err = errors.New("NOTIFY_SOCKET is not set: the unit lacks Type=notify")
		}
		return err
	})
}

// reusing binds beside whoever listens there already: SO_REUSEPORT, socket(7).
func reusing(o options, s settings) error {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, failed)
	}}
	return listening(config, o, s)
}

// plain has nobody beside it.
func plain(o options, s settings) error { return listening(net.ListenConfig{}, o, s) }

// listenTime is how long the opening of a listener may take.
const listenTime = 10 * time.Second

func listening(config net.ListenConfig, o options, s settings) error {
	ctx, cancel := context.WithTimeout(context.Background(), listenTime)
	defer cancel()
	l, err := config.Listen(ctx, "tcp", o.address)
	if err != nil {
		return err
	}
	return serveUntil(terminated(), l, s, o.sayReady)
}
