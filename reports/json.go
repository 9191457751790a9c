package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { register(Format{Name: "json", File: "report.json", Write: writeJSON}) }

// maxReport bounds what Read takes into memory: a report of a ten-minute run is under 3 MiB.
const maxReport = 256 << 20

func writeJSON(w io.Writer, run *result.Run) error {
	if run == nil {
		return errors.New("write report.json: no result")
	}
	v := reflect.ValueOf(*run)
	if path := firstNonFinite(v, "run"); path != "" {
		return fmt.Errorf("write report.json: %s is not a finite number, which JSON cannot hold", path)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(withEmptyLists(v).Interface()); err != nil {
		return fmt.Errorf("write report.json: %w", err)
	}
	if _, err := w.Write(numbers.ReplaceAll(buf.Bytes(), []byte("[$1, $2]"))); err != nil {
		return fmt.Errorf("write report.json: %w", err)
	}
	return nil
}

// numbers finds pairs of numbers, such as intervals and cells of a map, to write each on one line: the report of a long run is half as
// long. No string is touched, since none holds a line end as such.
var numbers = regexp.MustCompile(`\[\n\s+(-?[0-9][-+.0-9eE]*),\n\s+(-?[0-9][-+.0-9eE]*)\n\s+\]`)

// SchemaError says that a file is no report, or one of another version.
type SchemaError struct{ Got, Want string }

func (e *SchemaError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("not a report: it names no schema (want %q)", e.Want)
	}
	return fmt.Sprintf("the report has schema %q and this version reads %q", e.Got, e.Want)
}

// Read reads a stored report.json. Fields it does not know are let pass, since later versions may add some; another schema
// is a *[SchemaError].
func Read(r io.Reader) (*result.Run, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxReport+1))
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if len(data) > maxReport {
		return nil, fmt.Errorf("read report: it is larger than %d MiB", maxReport>>20)
	}
	// The schema is looked at first: a report of another version may not fit the types at all.
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if head.Schema != result.Schema {
		return nil, fmt.Errorf("read report: %w", &SchemaError{Got: head.Schema, Want: result.Schema})
	}
	var run result.Run
	if err := json.Unmarshal(data, &run); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return &run, nil
}

var timeType = reflect.TypeFor[time.Time]()

// withEmptyLists copies v so that every list and map without omitempty is there: readers outside rely on [] and {}, never
// null (DESIGN.md section 6). The original stays as it is.
func withEmptyLists(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(withEmptyLists(v.Elem()))
		return p
	case reflect.Struct:
		if v.Type() == timeType {
			return reflect.ValueOf(v.Interface().(time.Time).UTC())
		}
		out := reflect.New(v.Type()).Elem()
		for i := range v.NumField() {
			field := v.Field(i)
			tag := v.Type().Field(i).Tag.Get("json")
			switch {
			case field.Kind() == reflect.Slice && field.IsNil() && !strings.Contains(tag, ",omitempty"):
				out.Field(i).Set(reflect.MakeSlice(field.Type(), 0, 0))
			case field.Kind() == reflect.Map && field.IsNil() && !strings.Contains(tag, ",omitempty"):
				out.Field(i).Set(reflect.MakeMap(field.Type()))
			default:
				out.Field(i).Set(withEmptyLists(field))
			}
		}
		return out
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(withEmptyLists(v.Index(i)))
		}
		return out
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for _, k := range v.MapKeys() {
			out.SetMapIndex(k, withEmptyLists(v.MapIndex(k)))
		}
		return out
	default:
		return v
	}
}

// firstNonFinite finds a NaN or an infinity and says where: encoding/json refuses them without a place.
func firstNonFinite(v reflect.Value, path string) string {
	switch v.Kind() {
	default: // nothing else holds numbers
	case reflect.Float64, reflect.Float32:
		if math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0) {
			return path
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return firstNonFinite(v.Elem(), path)
		}
	case reflect.Struct:
		if v.Type() == timeType {
			return ""
		}
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if bad := firstNonFinite(v.Field(i), path+"."+name); bad != "" {
				return bad
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if bad := firstNonFinite(v.Index(i), fmt.Sprintf("%s[%d]", path, i)); bad != "" {
				return bad
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if bad := firstNonFinite(v.MapIndex(k), fmt.Sprintf("%s[%v]", path, k)); bad != "" {
				return bad
			}
		}
	}
	return ""
}
