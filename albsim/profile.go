package albsim

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Evidence says how sure a knob's value is. Grade is as in alb.md section 0: D documented, O observed by a third party,
// S read in source code, I inferred, A assumed; "unknown" where nothing was found and the value is only a default.
type Evidence struct {
	Grade  string
	Source string
}

// Profile is what a load balancer does where its configuration has no word. It is data: every field of the embedded
// structs is a knob, and Evidence has an entry for each by its Go name. The words that a text knob may have stand in its
// tag.
type Profile struct {
	// Name is how a document asks for it, Description a sentence for people.
	Name, Description string
	// Kind is application or network: what listeners and target groups a document may have. Empty is application.
	Kind string
	// Evidence is the grade and source of each knob's value.
	Evidence map[string]Evidence

	TLSKnobs
	UpgradeKnobs
	TunnelKnobs
	HeaderKnobs
	LimitKnobs
	ConnectionKnobs
	FaultKnobs
	NetworkKnobs
}

// Knob is one row of a profile, for reports and documents.
type Knob struct {
	Name string
	// Value is a word, a number, a duration, true or false, or a list with blanks between, which may be empty.
	Value string
	// Words are what a text knob, or one of a list, may be; nil for any other.
	Words []string
	Evidence
}

// Knobs lists every knob with its value and evidence, in the order of the structs.
func (p Profile) Knobs() []Knob {
	v := reflect.ValueOf(p)
	var out []Knob
	for _, f := range knobFields() {
		if !p.has(f) { // of another kind's
			continue
		}
		k := Knob{Name: f.Name, Evidence: p.Evidence[f.Name]}
		if list, ok := reflect.TypeAssert[[]string](v.FieldByIndex(f.Index)); ok {
			k.Value = strings.Join(list, " ")
		} else {
			k.Value = fmt.Sprint(v.FieldByIndex(f.Index).Interface())
		}
		if words, ok := f.Tag.Lookup("words"); ok {
			k.Words = strings.Split(words, ",")
		}
		out = append(out, k)
	}
	return out
}

// knobFields are found once: every profile is made at the start of every program that links this package.
var knobFields = sync.OnceValue(func() []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(reflect.TypeFor[Profile]()), func(f reflect.StructField) bool {
		return len(f.Index) == 1 // of the profile itself
	})
})

var profiles = map[string]Profile{}

// register adds a profile from the init of its file. That each knob has evidence and a word that it may have is seen to by a test.
func register(p Profile) {
	if _, dup := profiles[p.Name]; dup || p.Name == "" {
		panic("albsim: profile name empty or registered twice: " + p.Name)
	}
	if p.Kind == "" {
		p.Kind = application
	}
	profiles[p.Name] = p
}

// Profiles are the names of the profiles there are.
func Profiles() []string {
	names := make([]string, 0, len(profiles))
	for name := range profiles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// LookupProfile returns a profile by name; its maps and slices are shared and not to be written to.
func LookupProfile(name string) (Profile, bool) {
	p, ok := profiles[name]
	return p, ok
}

// derive returns a copy of base under another name. What was seen of base says nothing of another product: every knob that
// the new profile does not grade itself is an assumption.
func derive(base Profile, name, description string) Profile {
	p := base
	p.Name, p.Description = name, description
	p.Evidence = map[string]Evidence{}
	for _, f := range knobFields() {
		if p.has(f) {
			p.grade(f.Name, "A", "not looked at; as "+base.Name)
		}
	}
	return p
}

// product derives a profile of another maker's balancer: what is AWS's own is not taken for anybody else's.
func product(name, description string) Profile {
	p := derive(awsALB(), name, description)
	p.AddedFields, p.HostField, p.StripConnectionForCustom = nil, "keep", false
	p.ServerHeader, p.PageStyle, p.MaxForwardedFor = "", "text", 0
	for _, knob := range []string{
		"AddedFields", "HostField", "StripConnectionForCustom", "ServerHeader", "PageStyle", "MaxForwardedFor",
	} {
		p.grade(knob, "A", "not looked at; not as aws-alb, whose own this is")
	}
	return p
}

func (p *Profile) grade(knob, grade, source string) { p.Evidence[knob] = Evidence{grade, source} }
