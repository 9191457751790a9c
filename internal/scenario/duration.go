package scenario

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
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

// MarshalJSON writes the share as a person does: "2%".
func (p Percent) MarshalJSON() ([]byte, error) {
	return json.Marshal(strconv.FormatFloat(float64(p)*100, 'g', 12, 64) + "%")
}

// UnmarshalJSON reads a number with a per cent sign.
func (p *Percent) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("a share is a string such as 2%%: %w", err)
	}
	number, ok := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(v > 0 && v <= 1000) {
		return fmt.Errorf("a share is a number above 0 with a per cent sign, such as 2%%, not %q", s)
	}
	*p = Percent(v / 100)
	return nil
}
