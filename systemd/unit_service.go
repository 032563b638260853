package systemd

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// service is the text of the service unit.
func (u Unit) service() (string, error) {
	command, err := quotePath(u.Command)
	if err != nil {
		return "", err
	}
	start, err := u.execStart(command)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	u.origin(&b)
	u.about(&b)
	b.WriteString("\n[Service]\n")
	u.commands(&b, command, start)
	u.ends(&b)
	u.timeouts(&b)
	u.places(&b)
	u.hardening(&b)
	b.WriteString("\n[Install]\nWantedBy=multi-user.target\n")
	if names := u.socketNames(); len(names) > 0 && !u.Template {
		fmt.Fprintf(&b, "Also=%s\n", strings.Join(names, " "))
	}
	return b.String(), nil
}

func (u Unit) origin(b *strings.Builder) {
	if u.Origin != "" {
		fmt.Fprintf(b, "# %s\n", strings.Join(strings.Fields(u.Origin), " "))
	}
}

// about is the first section.
func (u Unit) about(b *strings.Builder) {
	fmt.Fprintf(b, `[Unit]
Description=%s, run by supervisor
%s# After so many attempts systemd gives up, and generations that still serve drain.
StartLimitIntervalSec=30
StartLimitBurst=100
`, u.instance(), u.after())
}

// after is what must be there first: an address that the supervisor is to
// listen on.
func (u Unit) after() string {
	if len(u.Sockets) > 0 && !u.Template {
		return ""
	}
	return "Wants=network-online.target\nAfter=network-online.target\n"
}

func (u Unit) execStart(command string) (string, error) {
	words := []string{command, "run"}
	for _, word := range u.Run {
		quoted, err := u.quote(word)
		if err != nil {
			return "", err
		}
		words = append(words, quoted)
	}
	return strings.Join(words, " "), nil
}

// quote leaves the specifiers of a template as they are.
func (u Unit) quote(word string) (string, error) {
	quoted, err := QuoteWord(word)
	if u.Template {
		quoted = strings.ReplaceAll(quoted, "%%i", "%i")
	}
	return quoted, err
}

func (u Unit) commands(b *strings.Builder, command, start string) {
	if u.NotifyReload {
		b.WriteString("# \"systemctl reload\" sends SIGHUP and waits for the end of the upgrade; its\n# verdict is in \"supervisor status\" and in the journal.\nType=notify-reload\n")
	} else {
		b.WriteString("Type=notify\n")
	}
	b.WriteString("NotifyAccess=main\n")
	if names := u.socketNames(); len(names) > 0 && !u.Template {
		fmt.Fprintf(b, "Sockets=%s\n", strings.Join(names, " "))
	}
	if len(u.Sockets) > 0 {
		b.WriteString("# Or systemd would make the sockets blocking at every start, for all who hold\n# them: also for generations that a dead supervisor left.\nNonBlocking=yes\n")
	}
	fmt.Fprintf(b, "ExecStart=%s\n", start)
	if !u.NotifyReload {
		fmt.Fprintf(b, "# A reload is an upgrade: it waits for the verdict, and fails unless committed.\n"+
			"# Not for the next supervisor: until this ends, systemd starts none.\nExecReload=%s upgrade --reconnect=0s\n", command)
	}
	fmt.Fprintf(b, `# Ends what a supervisor left that died in the midst of a stop.
ExecStopPost=-%s sweep
`, command)
}

// ends says what happens when the supervisor ends.
func (u Unit) ends(b *strings.Builder) {
	b.WriteString(`
# Generations serve on while there is no supervisor, and the next one adopts
# them: systemd must not end them with it. A supervisor that is told to stop
# ends them itself.
KillMode=process
Restart=on-failure
# At once: of a stop that comes before the next start systemd tells nobody, and
# older ones leave the run directory, so that generations would wait for ever.
RestartSec=0
OOMPolicy=continue
`)
}

func (u Unit) timeouts(b *strings.Builder) {
	fmt.Fprintf(b, `
# Not less than ready-timeout, and, because it bounds a reload too, than all
# that an upgrade may take to its verdict.
TimeoutStartSec=%d
# drain-timeout, three times stop-grace, and a margin.
TimeoutStopSec=%d
WatchdogSec=30
`, seconds(max(u.Ready, u.Upgrade)), seconds(u.Stop))
}

// seconds is d with its margin, rounded up.
func seconds(d time.Duration) int64 {
	return int64(math.Ceil((d + margin).Seconds()))
}

// places are the directories and limits of the service.
func (u Unit) places(b *strings.Builder) {
	name := u.instance()
	fmt.Fprintf(b, `
User=%[2]s
# The program's output is tagged so in the journal; the supervisor's own entries
# are tagged supervisor.
SyslogIdentifier=%[1]s
RuntimeDirectory=supervisor/%[1]s
# What the next supervisor needs to adopt generations is in it.
RuntimeDirectoryPreserve=restart
StateDirectory=supervisor/%[1]s
CacheDirectory=supervisor/%[1]s
CacheDirectoryMode=0700
LimitNOFILE=524288
`, name, u.literal(u.User))
	if len(u.Sockets) == 0 || u.Template {
		b.WriteString("# The listeners that the supervisor opens are kept here for the next one.\nFileDescriptorStoreMax=64\n")
	}
	b.WriteString("# A cgroup for each generation.\nDelegate=yes\n")
	if u.version() >= subgroupVersion {
		b.WriteString("DelegateSubgroup=supervisor\n")
	}
}

// hardening is all that a supervisor, its generations and an inherited listener
// bear. What is missing is missing for a reason: docs/systemd.md has it.
func (u Unit) hardening(b *strings.Builder) {
	capabilities, families := "", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"
	if u.NoNetwork {
		families = "AF_UNIX AF_NETLINK"
	}
	if u.LowPort {
		capabilities = "CAP_NET_BIND_SERVICE"
	}
	fmt.Fprintf(b, `
NoNewPrivileges=yes
CapabilityBoundingSet=%[1]s
AmbientCapabilities=%[1]s
ProtectSystem=strict
ProtectHome=yes
# systemd empties a private /tmp when the supervisor dies, under generations that
# go on; so what is mounted there stays.
PrivateTmp=yes
BindPaths=/var/cache/supervisor/%[2]s:/tmp /var/cache/supervisor/%[2]s:/var/tmp
PrivateDevices=yes
ProtectClock=yes
# The service's own part of the tree excepted.
ProtectControlGroups=yes
ReadWritePaths=-%[3]s
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
# AF_NETLINK tells how long connections wait in the accept queue.
RestrictAddressFamilies=%[4]s
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
# Remove this one for a program that compiles at run time.
MemoryDenyWriteExecute=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
`, capabilities, u.instance(), u.group(), families)
}
