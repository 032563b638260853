package load

import "testing"

func TestMachine(t *testing.T) {
	t.Parallel()
	m := Machine{Cores: 2, Kernel: "Linux 6.12.0", Go: "go1.26.8", Arch: "amd64"}
	if got, want := m.Full(), "2 cores, Linux 6.12.0, go1.26.8 amd64"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	m.Processor = processor([]byte("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\nflags\t: fpu\n\nprocessor\t: 1\nmodel name\t: Another\n"))
	if got, want := m.Full(), "2 cores, Linux 6.12.0, go1.26.8 amd64, Some CPU: 3 GHz"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := processor([]byte("BogoMIPS\t: 50.00\n")); got != "" {
		t.Errorf("%q of a text that does not name it", got)
	}
	if here := ThisMachine(); here.Cores < 1 || here.Kernel == "" || here.Go == "" || here.Arch == "" {
		t.Errorf("%+v", here)
	}
}
