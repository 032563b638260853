package handover

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLoadReadsWhatSaveWrote(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before: %v", err)
	}
	for _, boot := range []string{"first", "second"} {
		s := sample()
		s.Boot = boot
		if err := Save(path, s); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(s.Listeners, sample().Listeners) || s.Supervisor.Generations[0].Channel != 21 {
			t.Fatal("Save changed what it was given")
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		want := s.withoutDescriptors()
		want.Version, want.Reads = 1, 1
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if len(got.Descriptors()) > 0 || len(got.Streams) > 0 {
			t.Errorf("descriptors %v were written to a file", got.Descriptors())
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(names) != 1 {
		t.Errorf("left %q", names)
	}
}

func TestSaveReplacesWhatAKilledWriterLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, bystander := filepath.Join(dir, "state.json"), filepath.Join(dir, "bystander")
	if err := os.WriteFile(bystander, []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(bystander, path+temporary); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, sample()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(bystander); err != nil || string(text) != "precious" {
		t.Errorf("a link was followed: %q, %v", text, err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}

func TestSaveNamesWhatItCannotWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gone", "state.json")
	if err := Save(path, sample()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	dir := filepath.Join(t.TempDir(), "state.json")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Save(dir, sample()); err == nil {
		t.Error("a directory was replaced")
	}
	if _, err := os.Lstat(dir + temporary); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was left: %v", dir+temporary, err)
	}
}

func TestLoadRefusesWhatOthersCanHaveWritten(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make func(path string) error
		want string
	}{
		"writable by the group": {func(path string) error { return os.Chmod(path, 0o620) }, "others may write to it"},
		"writable by others":    {func(path string) error { return os.Chmod(path, 0o602) }, "others may write to it"},
		"a link": {func(path string) error {
			return errors.Join(os.Rename(path, path+".real"), os.Symlink(path+".real", path))
		}, "it is a symbolic link"},
		"a fifo": {func(path string) error {
			return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600))
		}, "it is no regular file"},
		"a directory": {func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		}, "it is no regular file"},
		"too large":      {func(path string) error { return os.Truncate(path, maxHeader+maxSize+1) }, "is the limit"},
		"cut short":      {func(path string) error { return os.Truncate(path, 1000) }, ErrTruncated.Error()},
		"somebody's own": {func(path string) error { return os.Chown(path, 65534, 65534) }, "it belongs to uid 65534"},
		"with numbers of descriptors": {func(path string) error {
			return os.WriteFile(path, written(1, `{"version":1,"control_fd":7}`), 0o600)
		}, "a descriptor for the control socket, in a file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "state.json")
			if err := Save(path, sample()); err != nil {
				t.Fatal(err)
			}
			if err := test.make(path); errors.Is(err, fs.ErrPermission) {
				t.Skip("only root gives files away")
			} else if err != nil {
				t.Fatal(err)
			}
			_, err := Load(path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A reader finds a whole state whenever it looks.
func TestLoadNeverSeesAHalfWrittenState(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	if err := Save(path, sample()); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { // joined by the receive below
		for range 200 {
			if err := Save(path, sample()); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	for {
		select {
		case err := <-failed:
			if err != nil {
				t.Error(err)
			}
			return
		default:
			if _, err := Load(path); err != nil {
				t.Error(err)
				<-failed
				return
			}
		}
	}
}

func TestMemfdIsSealed(t *testing.T) {
	t.Parallel()
	fd, err := Memfd(sample())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("is inherited: flags %#x, %v", flags, err)
	}
	if _, err := unix.Pwrite(fd, []byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("can be written to: %v", err)
	}
	if err := unix.Ftruncate(fd, 10); !errors.Is(err, unix.EPERM) {
		t.Errorf("can be cut short: %v", err)
	}
	for range 2 { // it is read, not consumed
		got, err := FromMemfd(fd)
		want := sample()
		want.Version, want.Reads = 1, 1
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
}

func TestFromMemfdRefusesWhatCanChange(t *testing.T) {
	t.Parallel()
	whole, err := Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	open, err := unix.MemfdCreate("open", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(open)
	if _, err := unix.Write(open, whole); err != nil {
		t.Fatal(err)
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	raw, err := unix.Open(file.Name(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(raw)
	short, err := create()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(short)
	if err := fill(short, whole[:len(whole)/2]); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		fd   int
		want string
	}{
		"not sealed":     {open, "it can still be changed"},
		"a regular file": {raw, "it is no memfd"},
		"closed":         {1 << 20, "bad file descriptor"},
		"half of it":     {short, ErrTruncated.Error()},
	} {
		if _, err := FromMemfd(test.fd); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	path := filepath.Join(tmpfs(b), "state.json")
	s := sample()
	data, err := Encode(s)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := Save(path, s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	s := sample()
	for b.Loop() {
		if _, err := Encode(s); err != nil {
			b.Fatal(err)
		}
	}
}

// tmpfs is a directory in memory, as /run is.
func tmpfs(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "supervisor-")
	if err != nil {
		return b.TempDir()
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Encode writes its header before a text of which it knows the length last.
func TestEncodeLeavesNoGap(t *testing.T) {
	t.Parallel()
	data, err := Encode(State{})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.IndexByte(data, 0) >= 0 {
		t.Errorf("got %q", data)
	}
}
