package scenario

import (
	"encoding/json"
	"fmt"
	"slices"
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

// MarshalJSON writes the size as a person does: "64MiB".
func (b Size) MarshalJSON() ([]byte, error) {
	unit := 0
	for b != 0 && b%1024 == 0 && unit < len(sizeUnits)-1 {
		b /= 1024
		unit++
	}
	return json.Marshal(fmt.Sprintf("%d%s", int64(b), sizeUnits[unit]))
}

// UnmarshalJSON reads a whole number with a unit.
func (b *Size) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("a size is a string such as 64MiB: %w", err)
	}
	for unit, name := range slices.Backward(sizeUnits) { // "B" is the end of all
		digits, ok := strings.CutSuffix(s, name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > 1<<(62-10*unit) {
			break
		}
		*b = Size(n << (10 * unit))
		return nil
	}
	return fmt.Errorf("a size is a whole number with a unit, such as 512B or 64MiB, not %q", s)
}

var sizeUnits = []string{"B", "KiB", "MiB", "GiB"}
