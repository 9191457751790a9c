package albsim

import "time"

// DefaultProfile is what a document without a profile gets.
const DefaultProfile = "aws-alb"

func init() { register(awsALB()) }

// awsALB is a function, so that the other profiles can derive from it whatever the order of init.
func awsALB() Profile {
	return Profile{
		Name:        DefaultProfile,
		Description: "AWS Application Load Balancer, as documented and observed (shared/facts/alb.md)",

		TLSKnobs: TLSKnobs{
			ALPNOffer:     []string{"h2", "http/1.1"},
			ALPNNoOverlap: "ignore",
			BackendSNI:    "none",
			BackendALPN:   nil,
			PlainOnTLS:    "400",
			TLSOnPlain:    "close",
		},
		UpgradeKnobs: UpgradeKnobs{
			UpgradeTokens:            nil,
			RefusedUpgrade:           0,
			StripConnectionForCustom: true,
			SwitchWithoutUpgrade:     "502",
			MatchSwitchToken:         false,
			EarlyBytes:               "buffer",
		},
		TunnelKnobs: TunnelKnobs{
			HalfClose:             "propagate",
			TLSTruncation:         "reset",
			TunnelIdleCloseClient: "fin",
			TunnelIdleCloseTarget: "fin",
			TunnelLogType:         "ws",
		},
		HeaderKnobs: HeaderKnobs{
			Informational:     "drop",
			ForgedMTLSHeaders: "strip",
			ConnectStatus:     400,
			ServerHeader:      "awselb/2.0",
		},
		LimitKnobs: LimitKnobs{
			MaxRequestLine:     16 << 10,
			MaxHeaderLine:      16 << 10,
			MaxHeaders:         64 << 10,
			MaxResponseHeaders: 32 << 10,
			MaxForwardedFor:    30,
			H2Streams:          128,
			H2Requests:         10000,
		},
		ConnectionKnobs: ConnectionKnobs{
			ClientFIN:        "abort",
			SilentConnection: "close",
			ConnectTimeout:   10 * time.Second,
			TargetTLSTimeout: 10 * time.Second,
		},

		Evidence: map[string]Evidence{
			"ALPNOffer":                {"O", "alb.md 2 KONAMI; h2 on HTTPS D LST"},
			"ALPNNoOverlap":            {"O", "alb.md 2 KONAMI, consistent with TP RFD 0123; ALB-TLS-03"},
			"BackendSNI":               {"O", "alb.md 4: apisix PR#546, istio #35420, envoy gateway #4520; ALB-ERR-11"},
			"BackendALPN":              {"O", "alb.md 4: TP #14176; ALB-ERR-11"},
			"UpgradeTokens":            {"O", "alb.md 1.2-1.6: XTDB, GRPCE, TP; AWS documents websocket only; ALB-UPG-02, -03"},
			"RefusedUpgrade":           {"A", "unused while every token crosses"},
			"StripConnectionForCustom": {"O", "alb.md 1.2-1.4, 1.6: XTDB, GRPCE, K8S, JENK; ALB-UPG-02"},
			"SwitchWithoutUpgrade":     {"unknown", "alb.md 16.3"},
			"MatchSwitchToken":         {"unknown", "alb.md 16.3"},
			"EarlyBytes":               {"unknown", "alb.md 16.2; ALB-UPG-14"},
			"HalfClose":                {"unknown", "alb.md 16.1; ALB-UPG-15"},
			"TLSTruncation":            {"unknown", "nothing found; an abort that stays an abort loses no one a truncation"},
			"TunnelIdleCloseClient":    {"unknown", "alb.md 16.1"},
			"TunnelIdleCloseTarget":    {"O", "alb.md 5: agent-orchestrator #4667; ALB-IDLE-05"},
			"ClientFIN":                {"I", "alb.md 7, 460: a client that closes before the answer; a FIN is all the balancer sees"},
			"SilentConnection":         {"A", "alb.md 7, 408 is worded for this too; ALB-IDLE-07 is the half-sent request"},
			"PlainOnTLS":               {"A", "alb.md 2, last point; 16.7"},
			"TLSOnPlain":               {"A", "alb.md 2, last point; 16.7"},
			"Informational":            {"unknown", "alb.md 16.10"},
			"TunnelLogType":            {"unknown", "alb.md 16.5; ALB-UPG-17"},
			"ForgedMTLSHeaders":        {"A", "alb.md 3, 16.6; ALB-MTLS-09"},
			"ConnectStatus":            {"A", "alb.md 6: refused (O proxytunnel PR#38), the status is not known"},
			"ServerHeader":             {"O", "alb.md 7; ALB-ERR-01"},
			"MaxRequestLine":           {"D", "alb.md 6 HOW, TRB; ALB-LIM-01"},
			"MaxHeaderLine":            {"D", "alb.md 6 HOW, TRB; O VUF; ALB-LIM-02"},
			"MaxHeaders":               {"D", "alb.md 6 HOW, TRB; ALB-LIM-02"},
			"MaxResponseHeaders":       {"D", "alb.md 6 HOW, TRB; ALB-LIM-03"},
			"MaxForwardedFor":          {"D", "alb.md 6 TRB; ALB-HDR-03"},
			"H2Streams":                {"D", "alb.md 2 LST, HOW; O KONAMI"},
			"H2Requests":               {"D", "alb.md 2 TRB; ALB-KA-02"},
			"ConnectTimeout":           {"D", "alb.md 5 TRB; ALB-ERR-04"},
			"TargetTLSTimeout":         {"D", "alb.md 4 TRB"},
		},
	}
}
