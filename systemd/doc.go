// Package systemd speaks with systemd: it takes the sockets that it passes,
// tells it how the service does, keeps descriptors in its store, and writes to
// its journal.
package systemd
