package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"example.com/supervisor/cmd/supervisor/internal/history"
	"github.com/spf13/cobra"
)

// stateRoot is where units have the state directories of services
// (StateDirectory=supervisor/NAME).
const stateRoot = "/var/lib/supervisor"

// historyFlags are the flags of the command.
type historyFlags struct {
	target
	dir   string
	count int
	json  bool
}

func newHistoryCommand(e environment) *cobra.Command {
	f := &historyFlags{target: target{e: e}}
	cmd := &cobra.Command{
		Use:   "history [NAME] [flags]",
		Short: "Show what became of a service's releases",
		Long: `Show the first starts, upgrades and rollbacks of a service with their verdicts,
oldest first. The supervisor is asked; of a service that does not run, or with
--state-dir, the file is read, for which one must be root or the service's user.
Without a NAME that is the only service that runs.`,
		Args: argumentsOf(nameOnly),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, flag := range []string{"state-dir"} {
				if err := notEmpty(cmd, flag); err != nil {
					return err
				}
			}
			if f.count < 0 {
				return usage(cmd, fmt.Errorf("-n must not be negative: %d", f.count))
			}
			entries, err := f.entries(cmd, only(args))
			if err != nil {
				return err
			}
			if f.count > 0 {
				entries = entries[max(0, len(entries)-f.count):]
			}
			return f.print(entries)
		},
	}
	f.addFlag(cmd)
	cmd.Flags().StringVar(&f.dir, "state-dir", "", "`DIRECTORY` of the history, to read the file there")
	cmd.Flags().IntVarP(&f.count, "lines", "n", 0, "show the latest `NUMBER` only (default: all that are kept)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print a JSON object")
	return cmd
}

// entries asks the supervisor, or reads the file.
func (f *historyFlags) entries(cmd *cobra.Command, name string) ([]history.Entry, error) {
	if f.dir != "" {
		entries, _, err := history.ReadFile(filepath.Join(f.dir, history.FileName), name)
		return entries, err
	}
	client, err := f.client(cmd, name)
	if err != nil && name != "" && f.socket == "" {
		entries, found := f.left(name)
		if found != nil {
			return nil, fmt.Errorf("%w; and %w", err, found)
		}
		return entries, nil
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), askTimeout)
	defer cancel()
	entries, err := client.History(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot tell the history: %w", err)
	}
	return entries, nil
}

// left reads the file of a service that does not run, where it would be.
func (f *historyFlags) left(name string) ([]history.Entry, error) {
	var tried []string
	for _, dir := range []string{history.Choose("", name, f.e.getenv), filepath.Join(stateRoot, name)} {
		if dir == "" {
			continue
		}
		entries, _, err := history.ReadFile(filepath.Join(dir, history.FileName), name)
		switch {
		case err == nil:
			return entries, nil
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("%w; try as root or as the user of the service", err)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		tried = append(tried, dir)
	}
	return nil, fmt.Errorf("there is no history in %s; say where it is with --state-dir", strings.Join(tried, " or "))
}

func (f *historyFlags) print(entries []history.Entry) error {
	if f.json {
		return json.NewEncoder(f.e.out).Encode(struct {
			History []history.Entry `json:"history"`
		}{append([]history.Entry{}, entries...)})
	}
	return printHistory(f.e.out, entries)
}

// printHistory writes a table for a person.
func printHistory(out io.Writer, entries []history.Entry) error {
	rows := [][]string{{"AT", "KIND", "VERDICT", "FROM", "TO", "TOOK", "RELEASE", "REASON"}}
	for _, e := range entries {
		release, reason := "-", e.Reason
		if e.Release != nil {
			release = releaseInWords(*e.Release)
		}
		if e.Note != "" {
			reason += " [" + e.Note + "]"
		}
		rows = append(rows, []string{
			e.At.Local().Format(time.DateTime), string(e.Kind), string(e.Verdict), number(e.From), number(e.To), inWords(e.Seconds),
			printable(release), printable(reason),
		})
	}
	var text strings.Builder
	if len(entries) == 0 {
		text.WriteString("nothing has happened yet\n")
	}
	table(&text, rows)
	_, err := io.WriteString(out, strings.TrimPrefix(text.String(), "\n"))
	return err
}

// printable is text that does nothing to a terminal: a file may be another user's.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
