package albsim

import (
	"encoding/json"
	"fmt"
	"time"
)

// Duration is a time, written in the document as in Go: "500ms", "30s".
type Duration time.Duration

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a duration string; a bare number is refused, as its unit would be a guess.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("duration %s: want a string such as \"30s\"", data)
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("duration %q: want a string such as \"30s\"", text)
	}
	*d = Duration(value)
	return nil
}

// String is the duration as in the document.
func (d Duration) String() string { return time.Duration(d).String() }
