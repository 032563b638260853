package systemdtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// unpack has apt fetch packages and what they depend on into work, from the
// Debian mirror that this machine uses, and extracts them into root. No script
// of a package is run. The packages of the machine are neither read nor changed.
func unpack(suite, work, root string) error {
	conf, err := writeAptConf(suite, work)
	if err != nil {
		return err
	}
	if err := command("apt-get", "-c", conf, "update"); err != nil {
		return err
	}
	if err := command("apt-get", append([]string{"-c", conf, "install", "--download-only", "--target-release", suite}, packages...)...); err != nil {
		return err
	}
	if err := layOut(root); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(work, "cache/archives/*.deb"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if err := extract(archive, root); err != nil {
			return err
		}
	}
	return nil
}

// aptConf keeps apt's state, cache, sources and hooks apart from the
// machine's, whose other settings, as that of a proxy, it goes by.
const aptConf = `#clear APT::Architectures;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
APT::Architectures { "%[2]s"; };
APT::Get::Assume-Yes "true";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Cache "%[1]s/cache";
Dir::State "%[1]s/state";
Dir::State::status "%[1]s/status";
Dir::Log "%[1]s/log";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
quiet "1";
`

// archiveKeys is where Debian has the keys of its releases.
const archiveKeys = "/usr/share/keyrings/debian-archive-keyring.gpg"

// writeAptConf prepares work for apt and returns the path of the settings.
func writeAptConf(suite, work string) (string, error) {
	architecture, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		return "", fmt.Errorf("cannot tell the machine's architecture: dpkg: %w", err)
	}
	// Lists the addresses only; nothing is fetched.
	addresses, err := exec.Command("apt-get", "update", "--print-uris").Output()
	if err != nil {
		return "", fmt.Errorf("cannot tell this machine's Debian mirror: apt-get: %w", err)
	}
	mirror, err := mirrorOf(string(addresses))
	if err != nil {
		return "", err
	}
	for _, folder := range []string{"cache/archives/partial", "state/lists/partial", "log"} {
		if err := os.MkdirAll(filepath.Join(work, folder), 0o755); err != nil {
			return "", err
		}
	}
	signed := ""
	if _, err := os.Stat(archiveKeys); err == nil {
		signed = " [signed-by=" + archiveKeys + "]"
	}
	source := fmt.Sprintf("deb%s %s %s main\n", signed, mirror, suite)
	if of, ok := strings.CutSuffix(suite, "-backports"); ok {
		source += fmt.Sprintf("deb%s %s %s main\n", signed, mirror, of)
	}
	for name, text := range map[string]string{
		"status": "", "sources.list": source,
		"apt.conf": fmt.Sprintf(aptConf, work, bytes.TrimSpace(architecture)),
	} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return filepath.Join(work, "apt.conf"), nil
}

// release matches what apt fetches first from each source: the mirror, the suite.
var release = regexp.MustCompile(`(?m)^'((?:https?|file):[^' ]*debian[^' ]*?)/dists/([a-z]+)/InRelease'`)

// mirrorOf finds the Debian mirror in the addresses that `apt-get update`
// fetches. Suites with a hyphen, as those of the security team, are not on it
// for certain.
func mirrorOf(addresses string) (string, error) {
	found := release.FindStringSubmatch(addresses)
	if found == nil {
		return "", errors.New("apt has no Debian mirror in its sources (apt-get update --print-uris shows them)")
	}
	return found[1], nil
}

// layOut makes the folders of a root in which /bin, /lib and the like are
// links into /usr, as Debian's are since 12, before packages come that say
// otherwise.
func layOut(root string) error {
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(root, "usr", name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"dev", "etc", "proc", "root", "run", "sys", "tmp", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("/run", filepath.Join(root, "var/run")); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(root, "tmp"), os.ModeSticky|0o777)
}

// extract adds the files of one package to root, but for those that only
// people read.
func extract(archive, root string) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	var fromSaid, toSaid bytes.Buffer
	from := quiet(exec.Command("dpkg-deb", "--fsys-tarfile", archive), &fromSaid)
	from.Stdout = write
	to := quiet(exec.Command("tar", "--extract", "--directory", root, "--keep-directory-symlink",
		"--exclude=./usr/share/doc/*", "--exclude=./usr/share/man/*", "--exclude=./usr/share/info/*", "--exclude=./usr/share/locale/*"), &toSaid)
	to.Stdin = read
	err = from.Start()
	write.Close()
	if err != nil {
		read.Close()
		return fmt.Errorf("cannot run dpkg-deb: %w", err)
	}
	err = to.Run()
	read.Close() // now dpkg-deb ends too, whatever became of tar
	if err = errors.Join(err, from.Wait()); err != nil {
		return fmt.Errorf("cannot extract %s: %w: %s%s", filepath.Base(archive), err, &fromSaid, &toSaid)
	}
	return nil
}

// quiet has a command end with this thread, which the caller has locked, and
// write to out only.
func quiet(cmd *exec.Cmd, out io.Writer) *exec.Cmd {
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

// command runs a command that is to succeed.
func command(name string, args ...string) error {
	var out bytes.Buffer
	if err := quiet(exec.Command(name, args...), &out).Run(); err != nil {
		said := strings.TrimSpace(out.String())
		return fmt.Errorf("cannot run %s: %w: %s", name, err, said[max(0, len(said)-2000):])
	}
	return nil
}
