package albsim

import "path/filepath"

// Config is the simulator's document: DESIGN.md section 5.
type Config struct {
	// Profile is one of Profiles(); aws-alb when empty.
	Profile string `json:"profile,omitempty"`
	// Attributes are the load balancer's, by AWS's full key, with AWS's defaults; see Attributes().
	Attributes   map[string]any `json:"attributes,omitempty"`
	Listeners    []Listener     `json:"listeners" jsonschema:"required,minItems=1"`
	TargetGroups []TargetGroup  `json:"target_groups" jsonschema:"required"`
	Logs         Logs           `json:"logs,omitzero"`
	// WebACL is asked about every request in front of the rules; absent means that there is no WAF.
	WebACL *WebACL `json:"web_acl,omitempty"`
	// Faults are put into every connection from its beginning, beside those of the profile.
	Faults []Injection `json:"faults,omitempty"`
	// Admin is where /healthz, /readyz, /metrics, /config, /targets and /nodes are served over plaintext HTTP; empty turns it off.
	Admin string `json:"admin,omitempty"`
}

// Logs are files that are appended to; empty means none.
type Logs struct {
	Access     string `json:"access,omitempty"`
	Connection string `json:"connection,omitempty"`
}

// Resolve makes every relative path of the document relative to dir, the folder of its file.
func (c *Config) Resolve(dir string) {
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		for j := range l.Certificates {
			abs(&l.Certificates[j].Cert)
			abs(&l.Certificates[j].Key)
		}
		abs(&l.MutualAuthentication.TrustStore)
		for j := range l.MutualAuthentication.Revocations {
			abs(&l.MutualAuthentication.Revocations[j])
		}
	}
	abs(&c.Logs.Access)
	abs(&c.Logs.Connection)
}
