package albsim

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Injection is one fault that is put into connections on purpose. It works on the bytes of the wire, below TLS, so an offset in
// them is not one of a tunnel unless the hop is plain, or Layer is plaintext. Its times are real: Options.TimeScale does not touch
// them.
//
// The same Seed cuts the same connection at the same offsets, and draws the same jitter, whatever the sizes of the writes:
// connections are told apart by their order on the hop.
type Injection struct {
	// Kind is what happens.
	//
	//	latency     every burst of bytes is late by Delay, and up to Jitter more
	//	jitter      every burst is late by up to Jitter
	//	bandwidth   BytesPerSecond at most
	//	drip        pieces of Bytes, Delay apart
	//	split       pieces of 1 to Bytes, each in a write, or a read, of its own
	//	stall       nothing moves
	//	half-close  the direction ends: a FIN to whom we write, an end of the stream for us
	//	truncate    both directions end, whatever was still to come
	//	reset       a RST to the other end, and for us
	//	target-death  the target's connections are reset, and new ones refused
	Kind string `json:"kind" jsonschema:"required,enum=latency,enum=jitter,enum=bandwidth,enum=drip,enum=split,enum=stall,enum=half-close,enum=truncate,enum=reset,enum=target-death"`
	// Hop is client for the connections in front, target for those behind.
	Hop string `json:"hop" jsonschema:"required,enum=client,enum=target"`
	// Layer is wire for the bytes of the socket, also when empty, or plaintext for those that TLS carries: pieces are records of
	// their own then, and an end comes with a close_notify. On a hop without TLS they are one and the same.
	Layer string `json:"layer,omitempty" jsonschema:"enum=wire,enum=plaintext"`
	// Direction is up for what clients send, down for what targets send; both when empty.
	Direction string `json:"direction,omitempty" jsonschema:"enum=up,enum=down"`
	// At is how long after the connection's beginning it begins, or after Inject if the connection stood then.
	At Duration `json:"at,omitempty"`
	// AtByte takes the place of At: it begins behind so many bytes of the direction, counted from the connection's first, or
	// from Inject if the connection stood then.
	AtByte int64 `json:"at_byte,omitempty" jsonschema:"minimum=0"`
	// For is how long it lasts; for good when 0. The end of a connection has none by the connection's clock.
	For Duration `json:"for,omitempty"`
	// Clock is what At and For count by. connection, also when empty, is as said there: each has its own beginning. server is one for
	// all: Inject, or the server's beginning. An end then comes to the connections that stand at that time, and with For to those that
	// begin until it is over.
	Clock string `json:"clock,omitempty" jsonschema:"enum=connection,enum=server"`
	// Delay is that of latency, and the time between the pieces of drip.
	Delay Duration `json:"delay,omitempty"`
	// Jitter is the most that chance adds.
	Jitter Duration `json:"jitter,omitempty"`
	// BytesPerSecond is the rate of bandwidth.
	BytesPerSecond int64 `json:"bytes_per_second,omitempty" jsonschema:"minimum=0"`
	// Bytes is the size of the pieces of drip, and the most of one of split.
	Bytes int64 `json:"bytes,omitempty" jsonschema:"minimum=0"`
	// Target is the address of target-death, as in a target group.
	Target string `json:"target,omitempty"`
	// Seed decides what chance does in split and jitter.
	Seed uint64 `json:"seed,omitempty"`
}

// String is the injection as in a document.
func (i Injection) String() string {
	b, err := json.Marshal(i)
	if err != nil {
		return i.Kind
	}
	return string(b)
}

// measures are the fields that each kind needs, besides those of every kind; a question mark stands behind one that it may
// also do without.
var measures = map[string][]string{
	"latency":      {"delay", "jitter?", "for?", "at_byte?"},
	"jitter":       {"jitter", "for?", "at_byte?"},
	"bandwidth":    {"bytes_per_second", "for?", "at_byte?"},
	"drip":         {"bytes", "delay", "for?", "at_byte?"},
	"split":        {"bytes", "for?", "at_byte?"},
	"stall":        {"for?", "at_byte?"},
	"half-close":   {"for?", "at_byte?"},
	"truncate":     {"for?", "at_byte?"},
	"reset":        {"for?", "at_byte?"},
	"target-death": {"target", "for?"},
}

// clockServer is a value of Injection.Clock, plaintext one of Injection.Layer.
const (
	clockServer = "server"
	plaintext   = "plaintext"
)

// InjectionKinds are the values of Injection.Kind, in alphabetical order.
func InjectionKinds() []string { return slices.Sorted(maps.Keys(measures)) }

// Check says what is wrong with an injection, by paths that begin with "fault."; nil when it can be made.
func (i Injection) Check() Faults {
	var faults Faults
	i.check("fault", &faults)
	return faults
}

// check adds what is wrong with an injection.
func (i Injection) check(path string, faults *Faults) {
	uses, ok := measures[i.Kind]
	if !ok {
		faults.add(path+".kind", "%q: no such kind of fault%s", i.Kind, didYouMean(i.Kind, InjectionKinds()))
		return
	}
	switch {
	case i.Hop != "client" && i.Hop != "target":
		faults.add(path+".hop", "%q: must be client or target", i.Hop)
	case i.Kind == "target-death" && i.Hop != "target":
		faults.add(path+".hop", "client: a death is a target's")
	}
	switch {
	case i.Layer != "" && i.Layer != "wire" && i.Layer != plaintext:
		faults.add(path+".layer", "%q: must be wire or plaintext", i.Layer)
	case i.Layer == plaintext && i.Kind == "target-death":
		faults.add(path+".layer", "a death is that of the socket: leave it out")
	}
	if i.Direction != "" && i.Direction != "up" && i.Direction != "down" {
		faults.add(path+".direction", "%q: must be up or down, or left out for both", i.Direction)
	}
	if i.Clock != "" && i.Clock != "connection" && i.Clock != clockServer {
		faults.add(path+".clock", "%q: must be connection or server", i.Clock)
	}
	if i.At < 0 {
		faults.add(path+".at", "%v: must not be negative", i.At)
	}
	if i.At > 0 && i.AtByte > 0 {
		faults.add(path+".at_byte", "%d: takes the place of at: give one of them", i.AtByte)
	}
	for _, m := range []struct {
		name     string
		negative bool
		set      bool
	}{
		{"delay", i.Delay < 0, i.Delay != 0},
		{"jitter", i.Jitter < 0, i.Jitter != 0},
		{"for", i.For < 0, i.For != 0},
		{"bytes_per_second", i.BytesPerSecond < 0, i.BytesPerSecond != 0},
		{"bytes", i.Bytes < 0, i.Bytes != 0},
		{"at_byte", i.AtByte < 0, i.AtByte != 0},
		{"target", false, i.Target != ""},
	} {
		switch {
		case m.negative:
			faults.add(path+"."+m.name, "must not be negative")
		case m.name == "for" && m.set && i.Ends() && i.Clock != clockServer:
			faults.add(path+".for", "%s happens once to a connection: for is nothing but with clock server", i.Kind)
		case m.set && !slices.Contains(uses, m.name) && !slices.Contains(uses, m.name+"?"):
			faults.add(path+"."+m.name, "is nothing that %s goes by", i.Kind)
		case !m.set && slices.Contains(uses, m.name):
			faults.add(path+"."+m.name, "%s needs it", i.Kind)
		}
	}
}

// Ends tells whether it is the end of a connection, or of a direction of it, and no state that lasts.
func (i Injection) Ends() bool {
	return slices.Contains([]string{"half-close", "truncate", "reset"}, i.Kind)
}

// Inject puts a fault into the connections that stand and those to come; the error is Faults. It may be called at any time
// behind New.
func (s *Server) Inject(i Injection) error {
	if faults := i.Check(); len(faults) > 0 {
		return faults
	}
	s.board.inject(i, time.Now())
	return nil
}

func planFaults(all []Injection, path string, faults *Faults) []Injection {
	for n, i := range all {
		i.check(path+"["+strconv.Itoa(n)+"]", faults)
	}
	return all
}
