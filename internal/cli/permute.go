package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// permute puts the words of a command line into the order that urfave/cli wants: command, flags, arguments. It stops
// reading flags at the first argument, and "run scenarios/alb.yaml --out x" is how people write it; a flag before the
// command goes to the command as well. What follows "--" stays where it is.
func permute(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	words, flags, commands := []string{args[0]}, app.Flags, app.Commands
	var moved, kept []string
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			kept = append(kept, args[i:]...)
			break
		}
		if strings.HasPrefix(arg, "-") && arg != "-" {
			moved = append(moved, arg)
			if takesValue(flags, arg) && i+1 < len(args) {
				i++
				moved = append(moved, args[i])
			}
			continue
		}
		if next := find(commands, arg); next != nil && len(kept) == 0 {
			words, flags, commands = append(words, next.Name), next.Flags, next.Subcommands
			if len(commands) > 0 {
				flags = slices.Concat(commonFlags(), flags)
			}
			continue
		}
		kept = append(kept, arg)
	}
	return slices.Concat(words, moved, kept)
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// takesValue says whether the next word belongs to the flag.
func takesValue(flags []cli.Flag, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}
