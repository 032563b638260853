package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// drawn writes a text as the picture.
func drawn(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func TestPictureIsThereOnlyOnceItIsDrawn(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a.svg")
	p, err := openPicture(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a file before anything is drawn: %v", err)
	}
	if err := errors.Join(p.draw(drawn("<svg/>")), p.close()); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(name); string(text) != "<svg/>" {
		t.Errorf("%v %q", err, text)
	}
}

func TestOlderPictureStaysUntilThereIsANewOne(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a.svg")
	if err := os.WriteFile(name, []byte("the old and long one"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, draws := range []bool{false, true} {
		p, err := openPicture(name)
		if err != nil {
			t.Fatal(err)
		}
		want := "the old and long one"
		if draws {
			want, err = "new", p.draw(drawn("new"))
		}
		if err := errors.Join(err, p.close()); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(name); string(text) != want {
			t.Errorf("%v %q, want %q", err, text, want)
		}
	}
}

func TestPictureThatCannotBeDrawnIsToldAndLeavesNoFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, name := range []string{folder, filepath.Join(folder, "missing", "a.svg")} {
		if _, err := openPicture(name); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "give --plot a file that can be written") {
			t.Error(err)
		}
	}
	name := filepath.Join(folder, "a.svg")
	p, err := openPicture(name)
	if err != nil {
		t.Fatal(err)
	}
	err = p.draw(func(io.Writer) error { return errors.New("no ink") })
	if err == nil || err.Error() != "cannot draw "+name+": no ink" {
		t.Error(err)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty file is left: %v", err)
	}
}

func TestPictureIsDrawnIntoWhatIsNoFile(t *testing.T) {
	t.Parallel()
	p, err := openPicture(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.draw(drawn("<svg/>")), p.close()); err != nil {
		t.Error(err)
	}
}
