package load

import (
	"bytes"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A Machine is where figures come from.
type Machine struct {
	Cores int `json:"cores"`
	// Processor is the name that Linux has for it; "" if it has none.
	Processor string `json:"processor,omitempty"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
	Arch      string `json:"arch"`
}

// ThisMachine is the one that this process runs on.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Kernel: "unknown", Go: runtime.Version(), Arch: runtime.GOARCH}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil { // proc_cpuinfo(5)
		m.Processor = processor(text)
	}
	return m
}

// processor is the model name of the first one.
func processor(cpuinfo []byte) string {
	for line := range bytes.Lines(cpuinfo) {
		if key, value, _ := bytes.Cut(line, []byte(":")); string(bytes.TrimSpace(key)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// String is for example "2 cores, Linux 6.12.0, go1.26.8 amd64": short enough for a
// line of a terminal, which the name of a processor is not.
func (m Machine) String() string {
	return fmt.Sprintf("%d cores, %s, %s %s", m.Cores, m.Kernel, m.Go, m.Arch)
}

// Full is String and the processor.
func (m Machine) Full() string {
	if m.Processor == "" {
		return m.String()
	}
	return m.String() + ", " + m.Processor
}
