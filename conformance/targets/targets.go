// Package targets has what is known of implementations that have been put to the checks: a target file for each, with its adapter, and a
// baseline of the failures that have been looked at.
package targets

import _ "embed"

// ALBBaseline is the baseline of the simulator with the profile aws-alb.
//
//go:embed tlsroute-alb.baseline.yaml
var ALBBaseline []byte
