package conformance

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"
)

// RawHTTP tags a check that speaks HTTP to the router itself: it is not put to a path with a load balancer in between, which
// would answer in the router's place.
const RawHTTP = "raw-http"

// NeedsIdle tags a check that waits for, or works against, the idle timeout of a path: it is put only to paths that declare one.
const NeedsIdle = "idle-timeout"

// Timing tags a check whose verdict depends on when things happen. It mostly waits: so it is begun before the groups and left to itself
// beside them, and a FAIL of it is looked at again.
const Timing = "timing"

// Counts tags a check that counts what the witnesses accept ([T.Accepted]), which it can only while no other is about to have them dialled:
// those that do so are run beside each other, behind all that dial. One without the tag makes others wait, and is judged the same.
const Counts = "counts"

// Crowd tags a check that fills the target with connections. It is not begun with those that sit out timers, whose beginnings it would
// disturb, but when its group's turn comes. One that does more than wait weighs as much as all that may be at work.
const Crowd = "crowd"

// Exclusive tags a check that must be alone: it changes the target for all, or uses it up, or counts what it has dialled itself.
const Exclusive = "exclusive"

// UnknownError says that a name given to choose checks means none of them. The command line ends with status 2.
type UnknownError struct {
	// Kind is check, level, tag or known failure; Name what was given; Near what may have been meant.
	Kind, Name string
	Near       []string
}

func (e *UnknownError) Error() string {
	msg := fmt.Sprintf("unknown %s %q", e.Kind, e.Name)
	if len(e.Near) > 0 {
		msg += "; did you mean " + strings.Join(e.Near, ", ") + "?"
	}
	return msg
}

// Select returns the checks of the catalogue that the options choose, in the order of ids. A name that means no check at all
// is an *UnknownError, in Skip too: a typo must not turn a check off, or on, in silence.
func Select(opt Options) ([]Check, error) { return choose(Checks(), opt) }

func choose(all []Check, opt Options) ([]Check, error) {
	only, err := matching(all, opt.Only)
	if err != nil {
		return nil, err
	}
	skip, err := matching(all, opt.Skip)
	if err != nil {
		return nil, err
	}
	for _, id := range opt.Again {
		if !slices.ContainsFunc(all, func(c Check) bool { return c.ID == id }) {
			return nil, &UnknownError{Kind: "check", Name: id, Near: near(all, id)}
		}
	}
	for _, level := range opt.Levels {
		if !slices.Contains([]Level{Must, Should, May, Info}, Level(strings.ToUpper(level))) {
			return nil, &UnknownError{Kind: "level", Name: level, Near: []string{string(Must), string(Should), string(May), string(Info)}}
		}
	}
	for _, tag := range opt.Tags {
		if !slices.ContainsFunc(all, func(c Check) bool { return slices.Contains(c.Tags, tag) }) {
			return nil, &UnknownError{Kind: "tag", Name: tag}
		}
	}
	var chosen []Check
	for _, c := range all {
		switch {
		case len(opt.Only) > 0 && !only[c.ID], skip[c.ID]:
		case opt.Again != nil && !slices.Contains(opt.Again, c.ID):
		case len(opt.Levels) > 0 && !slices.ContainsFunc(opt.Levels, func(l string) bool { return strings.EqualFold(l, string(c.Level)) }):
		case len(opt.Tags) > 0 && !slices.ContainsFunc(opt.Tags, func(tag string) bool { return slices.Contains(c.Tags, tag) }):
		default:
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// matching resolves globs over ids and slugs, in any case of letters, to a set of ids.
func matching(all []Check, globs []string) (map[string]bool, error) {
	ids := map[string]bool{}
	for _, glob := range globs {
		found := false
		for _, c := range all {
			id, err := path.Match(strings.ToLower(glob), strings.ToLower(c.ID))
			slug, _ := path.Match(strings.ToLower(glob), c.Slug) // the same pattern, the same error
			if err != nil {
				return nil, fmt.Errorf("choosing checks: %q: %w", glob, err)
			}
			if id || slug {
				ids[c.ID], found = true, true
			}
		}
		if !found {
			return nil, &UnknownError{Kind: "check", Name: glob, Near: near(all, glob)}
		}
	}
	return ids, nil
}

// near finds checks that share the group or a part of the slug with what was given.
func near(all []Check, glob string) []string {
	var names []string
	word := strings.ToLower(strings.Trim(glob, "*?"))
	for _, c := range all {
		if len(word) >= 3 && (strings.Contains(c.Slug, word) || strings.HasPrefix(strings.ToLower(c.ID), word[:3])) && len(names) < 5 {
			names = append(names, c.ID)
		}
	}
	return names
}

// Features lists every feature that some check asks for, sorted.
func Features() []string {
	set := map[string]bool{}
	for _, c := range Checks() {
		for _, f := range c.Features {
			set[f] = true
		}
	}
	names := make([]string, 0, len(set))
	for f := range set {
		names = append(names, f)
	}
	sort.Strings(names)
	return names
}

// Applicable returns the paths of the target that the check is put to. None means that the target is of another role or
// offers no path of the check's transports.
func Applicable(c Check, target Target) []Path {
	if c.Role != target.Role {
		return nil
	}
	if c.Role == Client && len(target.Paths) == 0 {
		return []Path{{Name: "dial"}}
	}
	var paths []Path
	for _, p := range target.Paths {
		if len(c.Transports) > 0 && !slices.Contains(c.Transports, transport(p)) {
			continue
		}
		if p.Upgrade != nil && p.Upgrade.Intermediary && (c.Setup != nil || slices.Contains(c.Tags, RawHTTP)) {
			continue
		}
		if p.IdleTimeout == 0 && slices.Contains(c.Tags, NeedsIdle) {
			continue
		}
		paths = append(paths, p)
	}
	return paths
}

func transport(p Path) Transport {
	if p.Upgrade != nil {
		return Upgraded
	}
	return Direct
}
