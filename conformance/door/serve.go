package door

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Handler does what an adapter is asked; unset verbs are unsupported. An *[UnsupportedError] becomes that status.
type Handler map[string]func(ctx context.Context, r Request) (Answer, error)

// Serve answers one request, and is all that an adapter in Go has to call besides its handler:
//
//	door.Serve(ctx, os.Stdin, os.Stdout, door.Handler{"describe": describe, "start": start, "stop": stop})
func Serve(ctx context.Context, in io.Reader, out io.Writer, h Handler) error {
	var r Request
	dec := json.NewDecoder(in)
	if err := dec.Decode(&r); err != nil {
		return fmt.Errorf("standard input is no request: %w", err)
	}
	answer, err := Answer{}, error(&UnsupportedError{"verb " + r.Verb})
	if f := h[r.Verb]; f != nil {
		answer, err = f(ctx, r)
	}
	var unsupported *UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		answer = Answer{Status: Unsupported, Message: unsupported.Reason}
	case err != nil:
		answer = Answer{Status: Failed, Message: err.Error()}
	case answer.Status == "":
		answer.Status = OK
	}
	if err := json.NewEncoder(out).Encode(answer); err != nil || answer.Then == nil {
		return err
	}
	rest := bufio.NewReader(io.MultiReader(dec.Buffered(), in))
	if b, err := rest.Peek(1); err == nil && b[0] == '\n' { // of the request's line
		_, _ = rest.Discard(1)
	}
	return answer.Then(rest, out)
}
