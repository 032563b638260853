package upgrade

import (
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A Program says what to run, as an operator wrote it.
type Program struct {
	// Command is the program, a path or a name to be looked up in PATH,
	// followed by its arguments.
	Command []string `json:"command"`
	// Dir is the working directory; empty means the supervisor's own.
	Dir string `json:"dir,omitempty"`
	// Env are KEY=VALUE entries added to the supervisor's own environment.
	Env []string `json:"env,omitempty"`
	// Protocol, Ready and Stop say how the program is spoken to. They mean
	// something to the Launcher only.
	Protocol string `json:"protocol,omitempty"`
	Ready    string `json:"ready,omitempty"`
	Stop     string `json:"stop,omitempty"`
}

// or is p with what it does not say taken from what runs now. How a program says
// that it is ready, and is told to stop, is not taken over into another protocol,
// which has its own way.
func (p Program) or(now Program) Program {
	if p.Protocol == "" || p.Protocol == now.Protocol {
		p.Protocol, p.Ready, p.Stop = now.Protocol, cmp.Or(p.Ready, now.Ready), cmp.Or(p.Stop, now.Stop)
	}
	p.Dir = cmp.Or(p.Dir, now.Dir)
	if len(p.Command) == 0 {
		p.Command = now.Command
	}
	if p.Env == nil {
		p.Env = now.Env
	}
	return p
}

// A Release is what a generation runs: a Program with its path resolved.
type Release struct {
	Program
	// Path is the absolute path of the executable with every symlink resolved.
	Path string `json:"path"`
	// BuildID tells builds apart: the version-control revision of a Go
	// binary, or else its module version; empty if there is neither.
	BuildID string `json:"build_id,omitempty"`
	// File is the identity of the file at Path when it was resolved: device,
	// inode, size and time of modification. It changes when the file is
	// replaced or written over.
	File string `json:"file,omitempty"`
}

// String names the release in one line: path, arguments and build.
func (r Release) String() string {
	text := r.Path
	if len(r.Command) > 1 {
		text += " " + strings.Join(r.Command[1:], " ")
	}
	if r.BuildID != "" {
		text += " (" + r.BuildID + ")"
	}
	return text
}

// same says whether other is the same file, run in the same way.
func (r *Release) same(other Release) bool {
	return r.Path == other.Path && r.File == other.File && r.Dir == other.Dir &&
		r.Protocol == other.Protocol && r.Ready == other.Ready && r.Stop == other.Stop &&
		slices.Equal(r.Command, other.Command) && slices.Equal(r.Env, other.Env)
}

// Resolve finds what p means now. It looks a bare name up in PATH, takes a
// relative path from Dir, follows every symlink, and checks that the result is
// an executable file. It is called again for each upgrade, so that a release
// directory behind a symlink is seen as it is at that moment.
func Resolve(p Program) (Release, error) {
	if len(p.Command) == 0 || p.Command[0] == "" {
		return Release{}, errors.New("no program given")
	}
	if p.Dir != "" {
		if info, err := os.Stat(p.Dir); err != nil {
			return Release{}, fmt.Errorf("working directory: %w", err)
		} else if !info.IsDir() {
			return Release{}, fmt.Errorf("working directory %s is not a directory", p.Dir)
		}
	}
	path, err := locate(p.Command[0], p.Dir)
	if err != nil {
		return Release{}, err
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Release{}, fmt.Errorf("program %s: %w", path, bare(err))
	}
	file, err := executable(resolved)
	if err != nil {
		return Release{}, err
	}
	return Release{Program: p, Path: resolved, BuildID: buildID(resolved), File: file}, nil
}

// Check says whether the file of r is still the one that was resolved: the
// condition for going back to r.
func (r Release) Check() error {
	file, err := executable(r.Path)
	if err != nil {
		return err
	}
	if file != r.File {
		return fmt.Errorf("program %s has been replaced since that release ran; give every release a path of its own, and a symlink to the current one", r.Path)
	}
	return nil
}

// locate makes name absolute without resolving symlinks.
func locate(name, dir string) (string, error) {
	if strings.ContainsRune(name, os.PathSeparator) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return filepath.Abs(name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("program %q is not in PATH; give its path: %w", name, err)
	}
	return filepath.Abs(path)
}

// executable checks that path is an executable file and returns its identity.
func executable(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("program %s: %w", path, bare(err))
	case info.IsDir():
		return "", fmt.Errorf("program %s is a directory", path)
	case info.Mode().Perm()&0o111 == 0:
		return "", fmt.Errorf("program %s is not executable (mode %v); try chmod +x: %w", path, info.Mode().Perm(), fs.ErrPermission)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("program %s: the system does not tell its inode: %w", path, errors.ErrUnsupported)
	}
	return fmt.Sprintf("%d:%d:%d:%d", st.Dev, st.Ino, info.Size(), info.ModTime().UnixNano()), nil
}

// bare is err without the name of the system call and the path, which its
// reader is told already.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// buildID reads what the Go toolchain wrote into the binary; "" for others.
func buildID(path string) string {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return ""
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+dirty"
			}
		}
	}
	if revision != "" {
		return revision + modified
	}
	if v := info.Main.Version; v != "(devel)" {
		return v
	}
	return ""
}
