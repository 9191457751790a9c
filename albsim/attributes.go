package albsim

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// attributeSet is what AWS has for one kind of resource, read into a T.
type attributeSet[T any] struct {
	simulated []attribute[T]
	// foreign are keys of AWS's that change nothing a client or target of the simulator could see, or are not simulated.
	foreign []string
	// every has all keys of AWS's for the resource, those of other kinds too, which AWS refuses here.
	every []string
}

// attribute is one of them: its key, its default, and how a value is read.
type attribute[T any] struct {
	key   string
	value any
	set   func(*T, any) string // the fault, or ""
}

// defaults are the keys that a document may set, with their defaults.
func (a attributeSet[T]) defaults() map[string]any {
	out := make(map[string]any, len(a.simulated))
	for _, one := range a.simulated {
		out[one.key] = one.value
	}
	return out
}

// read fills a T from the defaults and what the document gives; path is where in the document that stands.
func (a attributeSet[T]) read(given map[string]any, path string, faults *Faults) T {
	var s T
	known := make([]string, 0, len(a.simulated))
	for _, one := range a.simulated {
		known = append(known, one.key)
		if msg := one.set(&s, one.value); msg != "" {
			panic("albsim: default of " + one.key + " " + msg)
		}
		if v, ok := given[one.key]; ok {
			if msg := one.set(&s, v); msg != "" {
				faults.add(path+"["+one.key+"]", "%v: %s", v, msg)
			}
		}
	}
	var unknown []string
	for key := range given {
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	for _, key := range unknown {
		switch {
		case slices.Contains(a.foreign, key):
			faults.add(path+"["+key+"]", "an attribute of AWS that this version does not simulate")
		case slices.Contains(a.every, key):
			faults.add(path+"["+key+"]", "belongs to another kind of load balancer or target group, and AWS refuses it here, at its default too; leave it out")
		default:
			faults.add(path+"["+key+"]", "no such attribute%s", didYouMean(key, known))
		}
	}
	return s
}

func seconds[T any](low, high int64, field func(*T) *time.Duration) func(*T, any) string {
	return func(s *T, v any) string {
		n, ok := integer(v)
		if !ok || n < low || n > high {
			return "must be a whole number of seconds from " + strconv.FormatInt(low, 10) + " to " + strconv.FormatInt(high, 10)
		}
		*field(s) = time.Duration(n) * time.Second
		return ""
	}
}

func boolean[T any](field func(*T) *bool) func(*T, any) string {
	return func(s *T, v any) string {
		switch v := v.(type) {
		case bool:
			*field(s) = v
			return ""
		case string: // AWS's interface has every value as a string
			if b := strings.ToLower(v); b == "true" || b == "false" {
				*field(s) = b == "true"
				return ""
			}
		}
		return "must be true or false"
	}
}

// integer takes what JSON, YAML and AWS's interface (strings) give for a whole number.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) < 1<<53
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	}
	return 0, false
}
