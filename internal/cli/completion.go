package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// The scripts ask the program itself, which answers to --generate-bash-completion (urfave/cli).
var completions = map[string]string{
	"bash": `_tlsroute_bench() {
  local cur="${COMP_WORDS[COMP_CWORD]}"
  local words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
  [[ "$cur" == -* ]] && words+=("$cur")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
  [[ ${#COMPREPLY[@]} -eq 0 ]] && COMPREPLY=($(compgen -f -- "$cur"))
}
complete -o filenames -F _tlsroute_bench tlsroute-bench
`,
	"zsh": `#compdef tlsroute-bench
_tlsroute_bench() {
  local -a options
  options=("${(@f)$("${words[@]:0:#words[@]-1}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n "${options[1]}" ]]; then _describe 'command' options; else _files; fi
}
compdef _tlsroute_bench tlsroute-bench
`,
	"fish": `complete -c tlsroute-bench -f -a '(eval (commandline -opc) --generate-bash-completion 2>/dev/null)'
complete -c tlsroute-bench -F -n '__fish_seen_subcommand_from run serve'
`,
}

func completionCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script: source <(tlsroute-bench completion bash)",
		ArgsUsage: "bash|zsh|fish",
		Action: func(c *cli.Context) error {
			script, ok := completions[c.Args().First()]
			if !ok {
				return usagef("completion: want bash, zsh or fish, not %q", c.Args().First())
			}
			_, err := fmt.Fprint(env.Stdout, script)
			return err
		},
	}
}
