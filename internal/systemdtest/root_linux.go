package systemdtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// recipe changes with what unpack does, so that older roots are not used.
const recipe = "1"

// packages are what the root of a suite is made of, with what they depend on:
// systemd, D-Bus, a shell with the usual commands, and the libraries that
// systemd loads only when a directive needs them (SystemCallFilter=,
// DynamicUser=).
var packages = strings.Fields("systemd dbus libnss-systemd libseccomp2 base-files base-passwd bash dash coreutils grep procps util-linux mount")

// root returns the unpacked root of a suite and makes it where there is none.
// Whoever comes second waits for the first.
func (s store) root(suite string) (string, error) {
	key := sha256.Sum256([]byte(recipe + " " + strings.Join(packages, " ")))
	root := filepath.Join(s.roots(), fmt.Sprintf("%s-%x", suite, key[:6]))
	held, err := lock(root + ".lock")
	if err != nil {
		return "", err
	}
	defer held.Close()
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	// An offline machine is asked once by each test binary, not by each test.
	refusal, err := s.sessionDir("refused")
	if err != nil {
		return "", err
	}
	refusal = filepath.Join(refusal, suite)
	if text, err := os.ReadFile(refusal); err == nil {
		return "", errors.New(string(text))
	}
	if err = s.makeRoot(suite, root); err != nil {
		err = fmt.Errorf("cannot unpack a root of %s: %w", suite, err)
		_ = os.WriteFile(refusal, []byte(err.Error()), 0o644) // then the next test finds out again
		return "", err
	}
	return root, nil
}

// makeRoot unpacks into a folder beside root and renames it when it is whole.
// What is there already was left by one that was killed.
func (s store) makeRoot(suite, root string) error {
	// What it runs is to die with this process, for which the kernel looks at
	// the thread (PR_SET_PDEATHSIG, prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	work := root + ".work"
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, "root")
	if err := os.MkdirAll(made, 0o755); err != nil {
		return err
	}
	if err := unpack(suite, work, made); err != nil {
		return err
	}
	if err := furnish(made); err != nil {
		return err
	}
	return os.Rename(made, root)
}

// furnish does what the scripts of the packages would have done, and takes out
// what must not start in an instance.
func furnish(root string) error {
	files := map[string]string{
		"etc/nsswitch.conf": "passwd: files systemd\ngroup: files systemd\nshadow: files\nhosts: files\n",
		"etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
		// A test that fails wants to see all. The kernel's messages are the machine's.
		"etc/systemd/journald.conf.d/test.conf": "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitIntervalSec=0\nRuntimeMaxUse=64M\nForwardToWall=no\n",
	}
	for _, name := range []string{"passwd", "group"} {
		found, err := filepath.Glob(filepath.Join(root, "usr/share/base-passwd", name+".*"))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("the package base-passwd has no %s to begin with: %q", name, found)
		}
		text, err := os.ReadFile(found[0])
		if err != nil {
			return err
		}
		files["etc/"+name] = string(text)
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := silence(root); err != nil {
		return err
	}
	return command("chroot", root, "systemd-sysusers")
}

// wanted are the units that systemd starts by itself in an instance.
var wanted = map[string]bool{
	"systemd-journald.service": true, "systemd-journald.socket": true, "systemd-journald-dev-log.socket": true,
	"dbus.service": true, "dbus.socket": true,
}

// silence keeps all other units that came with systemd from being started by a
// target, a generator or the administrator's settings. They can still be
// started by name.
func silence(root string) error {
	var doomed []string
	for _, pattern := range []string{
		"usr/lib/systemd/system/*.wants/*", "usr/lib/systemd/system-generators/*", "etc/systemd/system/*",
		"usr/lib/systemd/system/systemd-journald-audit.socket", // pulled in by the journal; the kernel has one audit log for all
	} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		doomed = append(doomed, found...)
	}
	for _, path := range doomed {
		if wanted[filepath.Base(path)] {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}
