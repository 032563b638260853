package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/fdpass"
	"github.com/spf13/cobra"
)

func newVersionCommand(e environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Tell the version of this command",
		Args:  argumentsOf(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			v := ownVersion()
			if asJSON {
				return json.NewEncoder(e.out).Encode(v)
			}
			_, err := fmt.Fprintln(e.out, versionInWords(v))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// ownVersion is what the toolchain wrote into this binary.
func ownVersion() control.Version {
	v := control.Version{
		Version:  "unknown",
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Protocol: fdpass.Protocol,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func versionInWords(v control.Version) string {
	text := "supervisor " + v.Version
	if v.Revision != "" {
		text += " (" + v.Revision[:min(12, len(v.Revision))]
		if v.Modified {
			text += ", modified"
		}
		text += ")"
	}
	return fmt.Sprintf("%s, protocol %d, %s %s", text, v.Protocol, v.Go, v.Platform)
}
