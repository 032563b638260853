package units

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestGenerationsHaveGroups: all processes of a generation are in its control
// group, wherever they went and however early they were forked, and end with it.
func TestGenerationsHaveGroups(t *testing.T) {
	// What the unit forbids, clone3 among it, must not matter.
	for name, dropIn := range map[string]string{"hardened": "", "plain": "[Service]\nRestrictNamespaces=no\n"} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, m machine) {
				s := site{m}
				flags := []string{"--metrics", metrics}
				if m.Version >= 254 {
					flags = append(flags, "--systemd", "254")
				}
				s.prepare(t, flags...)
				if dropIn != "" {
					s.WriteUnit(t, "web.service.d/plain.conf", dropIn)
					s.Reload(t)
				}
				s.release(t, "setsid env -i sleep 1000 &\nexec "+misbehave+" -grandchild")
				s.Systemctl(t, "start", "web.service")
				st := s.active(t, 1)
				group := s.group(t)
				one := st.Generations[0]
				if one.Group != "/sys/fs/cgroup/system.slice/web.service/generation-1" || one.MemoryBytes < 1<<20 {
					t.Errorf("generation 1 is in %q and uses %d bytes", one.Group, one.MemoryBytes)
				}
				if n := members(t, group+"/generation-1"); n != 3 {
					t.Errorf("%d processes in the group of generation 1", n)
				}
				if n := members(t, group+"/supervisor"); n != 1 {
					t.Errorf("%d processes in that of the supervisor", n)
				}
				s.Systemctl(t, "reload", "web.service")
				s.active(t, 2)
				s.Await(t, "an end of the group", patience, func() bool { return !exists(group + "/generation-1") })
				if all := s.Processes(t, "web.service"); len(all) != 4 {
					t.Errorf("processes %v, want the supervisor and three of generation 2", all)
				}
				s.measured(t, 2)
				if out := run(t, s.Command(t.Context(), supervisor, "status", "web")); !strings.Contains(out, "MiB") {
					t.Errorf("no memory in the status:\n%s", out)
				}
				s.stop(t, "web.socket")
			})
		})
	}
}

// metrics is where they are served, besides the control socket.
const metrics = "127.0.0.1:9100"

// measured looks for the memory of the active generation among the metrics.
func (s site) measured(t *testing.T, generation int) {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: s.Dial}}
	text, err := get(t.Context(), client, "http://"+metrics+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(fmt.Sprintf(`(?m)^supervisor_generation_memory_bytes\{generation="%d",role="active"\} ([0-9.e+]+)$`, generation))
	found := want.FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no memory of generation %d in\n%s", generation, text)
	}
	if bytes, err := strconv.ParseFloat(found[1], 64); err != nil || bytes < 1<<20 {
		t.Errorf("generation %d uses %s bytes: %v", generation, found[1], err)
	}
}

// members counts the processes of a control group.
func members(t *testing.T, group string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	if err != nil {
		t.Error(err)
	}
	pids := strings.Fields(string(text))
	for _, pid := range pids {
		if _, err := strconv.Atoi(pid); err != nil {
			t.Error(err)
		}
	}
	return len(pids)
}
