package albsim

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// policy is a security policy in the terms of crypto/tls: alb.md section 2 (source HTTPS).
type policy struct {
	min, max uint16
	suites   []uint16 // of TLS 1.2 and below; crypto/tls orders them itself and does not let TLS 1.3's be chosen
	pq       bool     // X25519MLKEM768 is on offer
	lacks    string   // suites that AWS has and crypto/tls has not
}

const defaultPolicy = "ELBSecurityPolicy-2016-08"

var (
	gcmSuites = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	}
	baseSuites = append(slices.Clone(gcmSuites),
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256)
	ext1Suites = append(slices.Clone(baseSuites),
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA256)
	ecdheSHA1 = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	}
	rsaSHA1    = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA}
	ext2Suites = slices.Concat(ext1Suites, ecdheSHA1, rsaSHA1)
	fsSuites   = slices.Concat(baseSuites, ecdheSHA1)
	oldSuites  = append(slices.Clone(ext2Suites), tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA)
)

const (
	lacksECDHE384 = "ECDHE-*-AES256-SHA384"
	lacksRSA256   = "ECDHE-*-AES256-SHA384, AES256-SHA256"
)

var policies = map[string]policy{
	"ELBSecurityPolicy-TLS13-1-3-2021-06":        {tls.VersionTLS13, tls.VersionTLS13, nil, false, ""},
	"ELBSecurityPolicy-TLS13-1-2-2021-06":        {tls.VersionTLS12, tls.VersionTLS13, baseSuites, false, lacksECDHE384},
	"ELBSecurityPolicy-TLS13-1-2-Res-2021-06":    {tls.VersionTLS12, tls.VersionTLS13, gcmSuites, false, ""},
	"ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06":   {tls.VersionTLS12, tls.VersionTLS13, ext1Suites, false, lacksRSA256},
	"ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06":   {tls.VersionTLS12, tls.VersionTLS13, ext2Suites, false, lacksRSA256},
	"ELBSecurityPolicy-TLS13-1-1-2021-06":        {tls.VersionTLS11, tls.VersionTLS13, ext2Suites, false, lacksRSA256},
	"ELBSecurityPolicy-TLS13-1-0-2021-06":        {tls.VersionTLS10, tls.VersionTLS13, ext2Suites, false, lacksRSA256},
	"ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09": {tls.VersionTLS12, tls.VersionTLS13, gcmSuites, true, ""},
	"ELBSecurityPolicy-FS-1-2-Res-2020-10":       {tls.VersionTLS12, tls.VersionTLS12, gcmSuites, false, ""},
	"ELBSecurityPolicy-FS-1-2-Res-2019-08":       {tls.VersionTLS12, tls.VersionTLS12, baseSuites, false, lacksECDHE384},
	"ELBSecurityPolicy-FS-1-2-2019-08":           {tls.VersionTLS12, tls.VersionTLS12, fsSuites, false, lacksECDHE384},
	"ELBSecurityPolicy-FS-1-1-2019-08":           {tls.VersionTLS11, tls.VersionTLS12, fsSuites, false, lacksECDHE384},
	"ELBSecurityPolicy-FS-2018-06":               {tls.VersionTLS10, tls.VersionTLS12, fsSuites, false, lacksECDHE384},
	"ELBSecurityPolicy-TLS-1-2-Ext-2018-06":      {tls.VersionTLS12, tls.VersionTLS12, ext2Suites, false, lacksRSA256},
	"ELBSecurityPolicy-TLS-1-2-2017-01":          {tls.VersionTLS12, tls.VersionTLS12, ext1Suites, false, lacksRSA256},
	"ELBSecurityPolicy-TLS-1-1-2017-01":          {tls.VersionTLS11, tls.VersionTLS12, ext2Suites, false, lacksRSA256},
	defaultPolicy:                                {tls.VersionTLS10, tls.VersionTLS12, ext2Suites, false, lacksRSA256},
	"ELBSecurityPolicy-2015-05":                  {tls.VersionTLS10, tls.VersionTLS12, ext2Suites, false, lacksRSA256},
	"ELBSecurityPolicy-TLS-1-0-2015-04":          {tls.VersionTLS10, tls.VersionTLS12, oldSuites, false, lacksRSA256},
}

// classicCurves are the groups of the policies before 2025: crypto/tls left to itself would agree on a hybrid group that
// such a load balancer does not know.
var classicCurves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

func (p policy) apply(cfg *tls.Config) {
	cfg.MinVersion, cfg.MaxVersion, cfg.CipherSuites = p.min, p.max, p.suites
	if !p.pq {
		cfg.CurvePreferences = classicCurves
	}
}

// lookupPolicy returns the policy, or a sentence saying why there is none.
func lookupPolicy(name string) (policy, string) {
	if p, ok := policies[name]; ok {
		return p, ""
	}
	if strings.Contains(name, "FIPS") {
		return policy{}, name + " is not simulated: crypto/tls outside FIPS mode cannot keep to its suites and groups"
	}
	if strings.Contains(name, "-PQ-") {
		return policy{}, name + " is not simulated: of the PQ family this version has ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
	}
	return policy{}, name + ": no such policy" + didYouMean(name, Policies())
}

// Notes are sentences about what the document asks for and the simulator does otherwise, though it starts. A policy whose
// versions and groups crypto/tls has, and of whose suites it lacks some, is one of them; the policies that are defined by what
// crypto/tls lacks (FIPS, most of PQ) are refused by New.
func (s *Server) Notes() []string {
	var out []string
	for i, l := range s.plan.listeners {
		if l.secure && l.policy.lacks != "" {
			out = append(out, fmt.Sprintf("listeners[%d].ssl_policy: %s is kept but for %s, which crypto/tls has not",
				i, l.policyName, l.policy.lacks))
		}
	}
	for _, g := range s.plan.groups {
		if g.secure {
			back := backendPolicy(policy{max: tls.VersionTLS13})
			return append(out, "target_groups: HTTPS targets are offered AWS's policy but for "+back.lacks+", which crypto/tls has not")
		}
	}
	return out
}

// Policies are the names that ssl_policy may have.
func Policies() []string {
	names := make([]string, 0, len(policies))
	for name := range policies {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// backendPolicy is what the front end's policy implies towards an HTTPS target (alb.md section 4).
func backendPolicy(front policy) policy {
	if front.max >= tls.VersionTLS13 {
		return policies["ELBSecurityPolicy-TLS13-1-0-2021-06"]
	}
	return policies[defaultPolicy]
}

// opensslNames are the suites as AWS writes them in logs and in x-amzn-tls-cipher-suite. TLS 1.3's keep their own name.
var opensslNames = map[uint16]string{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ECDHE-ECDSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: "ECDHE-ECDSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:   "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256: "ECDHE-ECDSA-AES128-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256:   "ECDHE-RSA-AES128-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:    "ECDHE-ECDSA-AES128-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:      "ECDHE-RSA-AES128-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:    "ECDHE-ECDSA-AES256-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:      "ECDHE-RSA-AES256-SHA",
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256:         "AES128-GCM-SHA256",
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384:         "AES256-GCM-SHA384",
	tls.TLS_RSA_WITH_AES_128_CBC_SHA256:         "AES128-SHA256",
	tls.TLS_RSA_WITH_AES_128_CBC_SHA:            "AES128-SHA",
	tls.TLS_RSA_WITH_AES_256_CBC_SHA:            "AES256-SHA",
	tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA:           "DES-CBC3-SHA",
}

func suiteName(id uint16) string {
	if name, ok := opensslNames[id]; ok {
		return name
	}
	return tls.CipherSuiteName(id)
}

func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return "-"
}
