package conformance

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestSelect(t *testing.T) {
	catalogue := []Check{
		fake("X-01", Observation{}, nil, func(c *Check) { c.Slug = "first"; c.Tags = []string{"quick"} }),
		fake("X-02", Observation{}, nil, func(c *Check) { c.Slug = "second"; c.Level = Should }),
		fake("Y-01", Observation{}, nil, func(c *Check) { c.Slug = "third" }),
	}
	for name, tc := range map[string]struct {
		opt     Options
		want    string
		unknown string
	}{
		"everything":           {Options{}, "X-01 X-02 Y-01", ""},
		"an id":                {Options{Only: []string{"x-02"}}, "X-02", ""},
		"a slug":               {Options{Only: []string{"third"}}, "Y-01", ""},
		"a glob":               {Options{Only: []string{"X-*"}}, "X-01 X-02", ""},
		"a glob over slugs":    {Options{Skip: []string{"*ir*"}}, "X-02", ""},
		"a level":              {Options{Levels: []string{"should"}}, "X-02", ""},
		"a tag":                {Options{Tags: []string{"quick"}}, "X-01", ""},
		"again":                {Options{Again: []string{"Y-01", "X-02"}}, "X-02 Y-01", ""},
		"again, of a level":    {Options{Again: []string{"Y-01", "X-02"}, Levels: []string{"SHOULD"}}, "X-02", ""},
		"nothing again":        {Options{Again: []string{}}, "", ""},
		"unknown id again":     {Options{Again: []string{"X-01", "X-99"}}, "", "X-99"},
		"nothing left":         {Options{Only: []string{"X-01"}, Levels: []string{"SHOULD"}}, "", ""},
		"unknown id":           {Options{Only: []string{"X-99"}}, "", "X-99"},
		"unknown id in skip":   {Options{Skip: []string{"Z-01"}}, "", "Z-01"},
		"glob matches nothing": {Options{Only: []string{"Z-*"}}, "", "Z-*"},
		"unknown level":        {Options{Levels: []string{"MIGHT"}}, "", "MIGHT"},
		"unknown tag":          {Options{Tags: []string{"slow"}}, "", "slow"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := choose(catalogue, tc.opt)
			var unknown *UnknownError
			if errors.As(err, &unknown) != (tc.unknown != "") || unknown != nil && unknown.Name != tc.unknown {
				t.Fatalf("error %v, want one about %q", err, tc.unknown)
			}
			var ids []string
			for _, c := range got {
				ids = append(ids, c.ID)
			}
			if diff := cmp.Diff(tc.want, strings.Join(ids, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := Run(t.Context(), Target{}, Options{Only: []string{"NO-SUCH"}}); err == nil || !strings.Contains(err.Error(), `unknown check "NO-SUCH"`) {
		t.Errorf("Run with an unknown check: %v", err)
	}
}

func TestRawHTTPStaysAwayFromLoadBalancers(t *testing.T) {
	target := Target{Role: Router, Paths: []Path{{Name: "direct"}, {Name: "up", Upgrade: &UpgradePath{}}, {Name: "alb", Upgrade: &UpgradePath{Intermediary: true}}}}
	for name, tc := range map[string]struct {
		change func(*Check)
		want   string
	}{
		"no transport is any": {func(*Check) {}, "direct up alb"},
		"direct":              {func(c *Check) { c.Transports = []Transport{Direct} }, "direct"},
		"upgraded":            {func(c *Check) { c.Transports = []Transport{Upgraded} }, "up alb"},
		"raw HTTP":            {func(c *Check) { c.Transports, c.Tags = []Transport{Upgraded}, []string{RawHTTP} }, "up"},
		"of another role":     {func(c *Check) { c.Role = LoadBalancer }, ""},
	} {
		var names []string
		for _, p := range Applicable(fake("X-01", Observation{}, nil, tc.change), target) {
			names = append(names, p.Name)
		}
		if diff := cmp.Diff(tc.want, strings.Join(names, " ")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRegisterRefusesWhatIsIncomplete(t *testing.T) {
	for name, change := range map[string]func(*Check){
		"no why":                        func(c *Check) { c.Why = "" },
		"no clause":                     func(c *Check) { c.Clauses = nil },
		"an outcome without its clause": func(c *Check) { c.Accept[0].Clause = "" },
		"no control":                    func(c *Check) { c.Control = nil },
	} {
		c := fake("Z-01", Observation{}, nil, func(c *Check) {
			c.Clauses = []result.Clause{{Doc: "a document"}}
			c.Accept[0].Clause = "a clause"
		}, change)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: registered", name)
				}
			}()
			Register(c)
		}()
	}
}
