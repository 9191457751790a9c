package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is set by the release build; otherwise the build information tells.
var version = ""

// build says which version of the program this is and from which commit it was made.
func build() (name, commit string) {
	name, commit = version, "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return name, commit
	}
	if name == "" {
		name = info.Main.Version
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	return name, commit + dirty
}

func versionCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version and leave",
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			name, commit := build()
			_, err := fmt.Fprintf(env.Stdout, "tlsroute-bench %s (commit %s, %s %s/%s)\n", name, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
