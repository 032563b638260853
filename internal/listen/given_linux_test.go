package listen

import (
	"context"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestASocketThatIsGivenIsNotOpened(t *testing.T) {
	t.Parallel()
	spec, err := ParseSpec("http=systemd")
	if err != nil || !spec.Given() || spec.String() != "http=systemd" {
		t.Fatalf("%+v (%v), %v", spec, spec, err)
	}
	if _, err := Open(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "service manager") {
		t.Errorf("opened: %v", err)
	}
	for _, bad := range []string{"=systemd", "http=systemd?backlog=1", "http=systemd://x"} {
		if _, err := ParseSpec(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := ParseSpecs([]string{"a=systemd", "b=systemd"}); err != nil {
		t.Errorf("two that are given: %v", err)
	}
}

// TestAdoptedSocketRemovesTheFileThatItsOpenerMade, and no other's.
func TestAdoptedSocketRemovesTheFileThatItsOpenerMade(t *testing.T) {
	t.Parallel()
	for _, ours := range []bool{true, false} {
		path := t.TempDir() + "/s"
		first, err := Open(context.Background(), Spec{Name: "a", Network: "unix", Address: path})
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.FcntlInt(uintptr(first.FD), unix.F_DUPFD, 3)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(fd, false); err != nil {
			t.Fatal(err)
		}
		file := first.File()
		if !ours {
			file = FileID{}
		}
		second, err := Adopt(first.Spec, fd, file)
		if err != nil {
			t.Fatal(err)
		}
		if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
			t.Error("it is inherited by programs")
		}
		if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); flags&unix.O_NONBLOCK == 0 {
			t.Error("it blocks")
		}
		if err := second.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); os.IsNotExist(err) != ours {
			t.Errorf("the file after Close, its own %v: %v", ours, err)
		}
		_ = first.Close()
	}
}
