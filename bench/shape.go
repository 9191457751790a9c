package bench

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Shape are the options of a workload beside its rates. Zero is the default of each, which [CheckShape] fills in; an option that a
// workload does not have is an error. Sizes are bytes.
type Shape struct {
	// Size is the payload of one round trip, Bytes that of one transfer, ReadRate how many of them a second a slow reader takes, and
	// Queue how many of them the path may hold for it.
	Size, Bytes, ReadRate, Queue int64
	// Direction is up, down or duplex; Variant one of the protocol; Streams how many requests at once one tunnel carries.
	Direction, Variant string
	Streams            int
	// Active is the percentage of the tunnels that carry requests; the others are idle, and asked once at the end. 0 is all.
	Active float64
	// Burst is how many new tunnels are due at one instant.
	Burst int
	TLS   TLSShape
}

// TLSShape is what the innermost TLS session of each tunnel is to be. What it was is in result.Arm.TLS; where it was not so, that is an error.
type TLSShape struct {
	// Curve is the one key exchange group that is offered: X25519, P-256, P-384, P-521 or X25519MLKEM768.
	Curve string
	// Resume takes up an earlier session by its ticket; the first handshake of each arm, which gets the ticket, is not measured.
	Resume bool
	// Mutual says that the route asks for a certificate and that the client shows one.
	Mutual bool
}

// Directions of a transfer.
const (
	Up     = "up"
	Down   = "down"
	Duplex = "duplex"
)

// Curves are the key exchange groups by the names that scenarios use.
var Curves = map[string]tls.CurveID{
	"X25519": tls.X25519, "P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521, "X25519MLKEM768": tls.X25519MLKEM768,
}

// common are the options of every workload. Those of TLS have a dot, as their place in a scenario has.
var common = []string{"active", "burst", "tls.curve", "tls.resume", "tls.mutual"}

// words says the options that are not zero, for a person.
func (s Shape) words() map[string]string {
	out := map[string]string{}
	put := func(name string, given bool, value string) {
		if given {
			out[name] = value
		}
	}
	put("size", s.Size != 0, sizeWords(s.Size))
	put("bytes", s.Bytes != 0, sizeWords(s.Bytes))
	put("read_rate", s.ReadRate != 0, sizeWords(s.ReadRate)+"/s")
	put("queue", s.Queue != 0, sizeWords(s.Queue))
	put("direction", s.Direction != "", s.Direction)
	put("variant", s.Variant != "", s.Variant)
	put("streams", s.Streams != 0, strconv.Itoa(s.Streams))
	put("active", s.Active != 0, strconv.FormatFloat(s.Active, 'g', -1, 64)+" %")
	put("burst", s.Burst != 0, strconv.Itoa(s.Burst))
	put("tls.curve", s.TLS.Curve != "", s.TLS.Curve)
	put("tls.resume", s.TLS.Resume, "yes")
	put("tls.mutual", s.TLS.Mutual, "yes")
	return out
}

// sizeWords writes bytes in the largest unit that leaves no rest.
func sizeWords(n int64) string {
	unit := 0
	for n >= 1024 && n%1024 == 0 && unit < 3 {
		n /= 1024
		unit++
	}
	return fmt.Sprintf("%d %s", n, []string{"B", "KiB", "MiB", "GiB"}[unit])
}

// OptionError is an option of a workload that is at fault.
type OptionError struct{ Option, Message string }

func (e *OptionError) Error() string { return e.Option + ": " + e.Message }

func optionErrorf(option, format string, args ...any) error {
	return &OptionError{option, fmt.Sprintf(format, args...)}
}

// CheckShape returns the shape with its defaults, or an [*OptionError]. rate and connectRate are as in WorkloadPlan; given is false where
// they come from elsewhere: a search, a closed loop, steps.
func CheckShape(workload string, s Shape, rate, connectRate float64, given bool) (Shape, error) {
	k, err := lookup(workload)
	if err != nil {
		return s, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.words())) {
		if !slices.Contains(common, name) && !slices.ContainsFunc(k.options, func(o option) bool { return o.name == name }) {
			return s, optionErrorf(name, "workload %q has no such option; %s", workload, Catalogue())
		}
	}
	for _, o := range k.options {
		o.fill(&s)
	}
	opens := k.opens != nil && k.opens(s)
	switch {
	case s.TLS.Curve != "" && Curves[s.TLS.Curve] == 0:
		return s, optionErrorf("tls.curve", "no group is called %q; there are %s", s.TLS.Curve, strings.Join(slices.Sorted(maps.Keys(Curves)), ", "))
	case s.TLS.Mutual && s.TLS.Resume:
		return s, optionErrorf("tls.resume", "a server that asks for a certificate gives no ticket: mutual and resume exclude each other")
	case !(s.Active >= 0 && s.Active <= 100):
		return s, optionErrorf("active", "%g is no percentage", s.Active)
	case s.Active > 0 && rate == 0 && given:
		return s, optionErrorf("active", "there are no open tunnels without a rate")
	case s.Burst < 0 || s.Burst > maxConnects:
		return s, optionErrorf("burst", "%d new tunnels at once are not between 1 and %d", s.Burst, maxConnects)
	case s.Burst > 0 && connectRate == 0 && given && workload != stormName:
		return s, optionErrorf("burst", "there are no new tunnels without a connect_rate")
	case opens && rate > 0:
		return s, optionErrorf("rate", "workload %q opens a tunnel for each exchange: give connect_rate alone", strings.TrimSpace(workload+" "+s.Variant))
	}
	if k.check != nil {
		return s, k.check(s)
	}
	return s, nil
}

// opens says whether each exchange of the workload has a tunnel of its own.
func (w *WorkloadPlan) opens() bool {
	k, _ := lookup(w.Name) // prepare has looked already
	return k.opens != nil && k.opens(w.Shape)
}

// oneOf checks a word against those there are.
func oneOf(name, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return optionErrorf(name, "%q is none of %s", value, strings.Join(words, ", "))
}

// between checks a size.
func between(name string, value, least, most int64) error {
	if value >= least && value <= most {
		return nil
	}
	return optionErrorf(name, "%s are not between %s and %s", sizeWords(value), sizeWords(least), sizeWords(most))
}

// Catalogue lists the workloads with their own options and defaults, and the options that all have.
func Catalogue() string {
	var b strings.Builder
	b.WriteString("there are")
	for i, name := range WorkloadNames() {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(" " + name)
		var own []string
		for _, o := range workloads[name].options {
			own = append(own, o.name+" "+o.def)
		}
		if len(own) > 0 {
			b.WriteString(" (" + strings.Join(own, "; ") + ")")
		}
	}
	b.WriteString("; all have " + strings.Join(common, ", "))
	return b.String()
}
