package conformance

import (
	"context"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// unasked fails the test when it is asked to launch.
type unasked struct{ t *testing.T }

func (unasked) Document() door.Balancer { return door.Balancer{} }

func (u unasked) Launch(context.Context, door.Balancer) (string, func(context.Context) error, error) {
	u.t.Error("a document was sent")
	return "", nil, nil
}

// What a check does not name among its features is not sent to a target, which may not know it.
func TestAFieldWithoutItsFeatureIsNotSent(t *testing.T) {
	check := &T{Target: &Target{Balancers: unasked{t}}, Check: Check{ID: "X-01", Relaunches: true, Features: []string{door.FeatureRules}}}
	err := check.Relaunch(t.Context(), func(doc *door.Balancer) { doc.SSLPolicy = "ELBSecurityPolicy-2016-08" })
	if err == nil || !strings.Contains(err.Error(), door.FeaturePolicy) {
		t.Errorf("the error is %v", err)
	}
}
