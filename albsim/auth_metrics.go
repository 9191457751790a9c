package albsim

import (
	"sync/atomic"
	"time"
)

// authCounters are CloudWatch's of user authentication: D, CW.
type authCounters struct {
	errors, failures, refreshed, successes, tooLarge atomic.Int64
	latency                                          atomic.Int64 // nanoseconds with the identity provider, summed up
}

// authErrors are the words of error_reason that count as an error: D, ACC. What is not here is a failure.
var authErrors = map[string]bool{
	"AuthMissingHostHeader": true, "AuthTokenEpRequestFailed": true, "AuthTokenEpRequestTimeout": true,
	"AuthUnhandledException": true, "AuthUserinfoEpRequestFailed": true, "AuthUserinfoEpRequestTimeout": true,
}

func (c *authCounters) failed(reason string) {
	switch {
	case reason == "AuthUserinfoResponseSizeExceeded":
		c.tooLarge.Add(1)
	case authErrors[reason]:
		c.errors.Add(1)
	default:
		c.failures.Add(1)
	}
}

// into adds them to CloudWatch's names. ELBAuthLatency is the sum, in milliseconds.
func (c *authCounters) into(out map[string]int64) {
	out["ELBAuthError"] = c.errors.Load()
	out["ELBAuthFailure"] = c.failures.Load()
	out["ELBAuthLatency"] = time.Duration(c.latency.Load()).Milliseconds()
	out["ELBAuthRefreshTokenSuccess"] = c.refreshed.Load()
	out["ELBAuthSuccess"] = c.successes.Load()
	out["ELBAuthUserClaimsSizeExceeded"] = c.tooLarge.Load()
}
