package scenario

import (
	"encoding/json"
	"fmt"
	"time"
)

// MarshalJSON writes the duration as Go does: "1m30s".
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}

// UnmarshalJSON reads a Go duration string.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("a duration is a string such as 500ms: %w", err)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("a duration is a number with a unit, such as 500ms or 1m30s, not %q", s)
	}
	*d = Duration(v)
	return nil
}
