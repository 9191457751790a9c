package cli

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// TestTheCommandsOfTheRecipesAreOurs: what the files in docs/ci run is understood, as far as the target file that is not there.
func TestTheCommandsOfTheRecipesAreOurs(t *testing.T) {
	command := regexp.MustCompile(`(?m)^[ #]*(?:run: tlsroute-bench )?(run alb .*--target .*)$`)
	for _, name := range []string{"github.yml", "Dockerfile"} {
		text, err := os.ReadFile("../../docs/ci/" + name)
		if err != nil {
			t.Fatal(err)
		}
		found := command.FindAllStringSubmatch(string(text), -1)
		if len(found) != 1 {
			t.Fatalf("%s runs %q", name, found)
		}
		var out, said bytes.Buffer
		status := Main(t.Context(), Env{Args: append([]string{"tlsroute-bench"}, strings.Fields(found[0][1])...), Stdout: &out, Stderr: &said})
		if status != result.ExitUsage || !strings.Contains(said.String(), "ci/target.yaml: no such file") {
			t.Errorf("%s: %q ends with %d: %s", name, found[0][1], status, said.String())
		}
	}
}
