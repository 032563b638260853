package upgrade

import (
	"cmp"
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
	// EnvFiles are files of further entries, in the format of systemd's
	// EnvironmentFile=, absolute paths, with a "-" before one that need not be
	// there. They are read by Resolve; Env goes before them.
	EnvFiles []string `json:"env_files,omitempty"`
	// Protocol, Ready and Stop say how the program is spoken to. They mean
	// something to the Launcher only.
	Protocol string `json:"protocol,omitempty"`
	Ready    string `json:"ready,omitempty"`
	Stop     string `json:"stop,omitempty"`
	// Watchdog is how long the program may be silent; so too.
	Watchdog string `json:"watchdog,omitempty"`
	// Listen are the listeners that it is handed, in their order: what comes before
	// "=" in each is the name, and all of it tells the Launcher which socket that
	// is. Nil means those that there are.
	Listen []string `json:"listen,omitempty"`
}

// Or is p with what it does not say taken from what runs now. How a program says
// that it is ready, and is told to stop, is not taken over into another protocol,
// which has its own way.
func (p Program) Or(now Program) Program {
	if p.Protocol == "" || p.Protocol == now.Protocol {
		p.Protocol, p.Ready, p.Stop = now.Protocol, cmp.Or(p.Ready, now.Ready), cmp.Or(p.Stop, now.Stop)
		p.Watchdog = cmp.Or(p.Watchdog, now.Watchdog)
	}
	p.Dir = cmp.Or(p.Dir, now.Dir)
	if len(p.Command) == 0 {
		p.Command = now.Command
	}
	if p.Env == nil {
		p.Env = now.Env
	}
	if p.EnvFiles == nil {
		p.EnvFiles = now.EnvFiles
	}
	if p.Listen == nil {
		p.Listen = now.Listen
	}
	return p
}

// A Release is what a generation runs: a Program with its path resolved and its
// environment files read. However often it is started, it is the same.
type Release struct {
	Program
	// Path is the absolute path of the executable with every symlink resolved.
	Path string `json:"path"`
	// Root is the working directory with every symlink resolved; empty means
	// the supervisor's own.
	Root string `json:"root,omitempty"`
	// RootFile is the identity of the directory at Root when it was resolved:
	// device and inode.
	RootFile string `json:"root_file,omitempty"`
	// FileEnv are the entries that the environment files had.
	FileEnv []string `json:"file_env,omitempty"`
	// EnvDigest identifies the contents of FileEnv and Env; empty if there are
	// none.
	EnvDigest string `json:"env_digest,omitempty"`
	// Said is what the configuration said when it was resolved, so that what is
	// changed there later can be told from what the release has otherwise; nil if
	// that is not known. Two releases may differ in it and be the same.
	Said *Program `json:"said,omitempty"`
	// BuildID tells builds apart: the version-control revision of a Go
	// binary, or else its module version, or else the beginning of the build id
	// of an ELF file; empty if there is none.
	BuildID string `json:"build_id,omitempty"`
	// File is the identity of the file at Path when it was resolved: inode, size
	// and time of modification. It changes when the file is replaced or written
	// over, and does not with a reboot.
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

// Same says whether other is the same file, run in the same way. It says so also
// of releases whose environment is not shown, by its digest.
func (r Release) Same(other Release) bool {
	return r.Path == other.Path && r.File == other.File && r.Dir == other.Dir && r.Root == other.Root &&
		r.Protocol == other.Protocol && r.Ready == other.Ready && r.Stop == other.Stop && r.Watchdog == other.Watchdog &&
		slices.Equal(r.Command, other.Command) && r.EnvDigest == other.EnvDigest &&
		(r.Listen == nil || other.Listen == nil || slices.Equal(r.Listen, other.Listen))
}

// Environment is what is added to the environment of its processes.
func (r Release) Environment() []string { return slices.Concat(r.FileEnv, r.Env) }

// WorkingDir is the directory in which it is started; empty means the
// supervisor's own.
func (r Release) WorkingDir() string { return cmp.Or(r.Root, r.Dir) }

// Resolve finds what p means now. It looks a bare name up in PATH, takes a
// relative path from Dir, follows every symlink, and checks that the result is
// an executable file. It is called again for each upgrade, so that a release
// directory behind a symlink is seen as it is at that moment, and so are the
// environment files.
func Resolve(p Program) (Release, error) {
	if len(p.Command) == 0 || p.Command[0] == "" {
		return Release{}, errors.New("no program given")
	}
	root, rootFile, err := resolveDir(p.Dir)
	if err != nil {
		return Release{}, err
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
	env, err := readEnvFiles(p.EnvFiles)
	if err != nil {
		return Release{}, err
	}
	r := Release{Program: p, Path: resolved, Root: root, RootFile: rootFile, FileEnv: env, BuildID: buildID(resolved), File: file}
	r.EnvDigest = digest(r.Environment())
	return r, nil
}

// resolveDir follows the symlinks of a working directory.
func resolveDir(dir string) (root, identity string, err error) {
	if dir == "" {
		return "", "", nil
	}
	info, err := statDir(dir)
	if err != nil {
		return "", "", err
	}
	root, err = filepath.EvalSymlinks(dir)
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err == nil {
		identity, err = identify(info)
	}
	if err != nil {
		return "", "", fmt.Errorf("working directory %s: %w", dir, bare(err))
	}
	return root, identity, nil
}

func statDir(dir string) (fs.FileInfo, error) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("working directory: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("working directory %s is not a directory", dir)
	}
	return info, nil
}

// identify tells a file from what else has its path, or will have: the identity
// of a directory is not that of what is in it.
func identify(info fs.FileInfo) (string, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return "", fmt.Errorf("the system does not tell its inode: %w", errors.ErrUnsupported)
	case info.IsDir():
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
	}
	// Not the device: its number may be another one after a reboot.
	return fmt.Sprintf("%d:%d:%d", st.Ino, info.Size(), info.ModTime().UnixNano()), nil
}

// Check says whether the file of r is still the one that was resolved, and its
// directory still there: the condition for going back to r.
func (r Release) Check() error {
	if dir := r.WorkingDir(); dir != "" {
		if _, err := statDir(dir); err != nil {
			return err
		}
	}
	file, err := executable(r.Path)
	if err != nil {
		return err
	}
	if file != r.File {
		return fmt.Errorf("program %s has been replaced since that release was admitted; give every release a path of its own, and a symlink to the current one", r.Path)
	}
	return nil
}

// Revive completes a release of which only what is shown was written down, where
// env are the entries that its Program had. It is refused where its file, its
// directory or its environment are not what they were.
func Revive(shown Release, env []string) (Release, error) {
	r := *shown.copy()
	r.Env = slices.Clone(env)
	var err error
	if r.FileEnv, err = readEnvFiles(r.EnvFiles); err != nil {
		return Release{}, err
	}
	if digest(r.Environment()) != r.EnvDigest {
		return Release{}, errors.New("its environment is not known any more: env or the environment files have changed since")
	}
	return r, r.Check()
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
	identity, err := identify(info)
	if err != nil {
		return "", fmt.Errorf("program %s: %w", path, err)
	}
	return identity, nil
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
