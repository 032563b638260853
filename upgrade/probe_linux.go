package upgrade

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func (p *process) probePath() string {
	return filepath.Join(p.launcher.cfg.RunDir, fmt.Sprintf("generation-%d.sock", p.number))
}

// openProbe makes the generation's private listening socket; -1 without RunDir.
func (p *process) openProbe() (int, error) {
	if p.launcher.cfg.RunDir == "" {
		return -1, nil
	}
	path := p.probePath()
	_ = os.Remove(path) // of a supervisor that was killed and left no state to go on from: the numbers start anew
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("probe socket: %w", err)
	}
	// The mode of the descriptor becomes that of the file (unix(7)).
	err = unix.Fchmod(fd, 0o600)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		closeFD(fd)
		return -1, fmt.Errorf("probe socket %s: %w", path, err)
	}
	return fd, nil
}

func (p *process) removeProbe() {
	if p.launcher.cfg.RunDir != "" {
		_ = os.Remove(p.probePath())
	}
}

func closeFD(fds ...int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
