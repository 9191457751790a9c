package albsim

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"time"
)

// errUnhealthy is why the flows of a target end that is there still.
var errUnhealthy = errors.New("the target has turned unhealthy")

// fitness ends what a target is at work on when it turns unhealthy, which only a network load balancer does. Unlike a
// target's life it begins again.
type fitness struct {
	ctx context.Context //nolint:containedctx // it is the target's own, as its life is
	end context.CancelCauseFunc
}

func newFitness() fitness {
	ctx, end := context.WithCancelCause(context.Background())
	return fitness{ctx, end}
}

// turnUnhealthy ends the flows there are; the group's mu is held.
func (t *target) turnUnhealthy() {
	t.fit.end(errUnhealthy)
	t.fit = newFitness()
}

// sicken is a target's turn to unhealthy, behind settle; mu is held. A network load balancer ends the target's flows, unless there
// are so few healthy targets that the group has opened to all (N-TRB). Where flows are not to end at once, a draining
// interval has them end behind it (edit-target-group-attributes, N-TG; that they end is of AWS's announcement on re:Post).
func (g *group) sicken(t *target) {
	switch {
	case g.network == nil:
	case g.network.unfit > 0:
		t.state = unhealthyDraining
		var timer *time.Timer
		timer = time.AfterFunc(g.s.scaled(g.network.unfit), func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			if t.drain != timer { // it has recovered, or is deregistered
				return
			}
			t.drain, t.state = nil, unhealthy
			if !g.failOpen {
				t.turnUnhealthy()
			}
		})
		t.drain = timer
	case g.network.endUnhealthy && !g.failOpen:
		t.turnUnhealthy()
	}
}

// undrain ends a draining interval that is under way; mu is held.
func (t *target) undrain() {
	if t.state == unhealthyDraining {
		t.drain.Stop()
		t.drain = nil
	}
}

// planNetworkCheck is planHealthCheck with the defaults of a network load balancer: alb.md section 11 (N-HC).
func planNetworkCheck(g TargetGroup, set *networkGroup, path string, faults *Faults) *healthCheck {
	c := &g.HealthCheck
	if c.Protocol == "" {
		if c.Protocol = "TCP"; g.TargetType == "alb" {
			c.Protocol = "HTTP"
		}
	}
	if c.TimeoutSeconds == 0 {
		if c.TimeoutSeconds = 10; c.Protocol == "HTTP" {
			c.TimeoutSeconds = 6
		}
	}
	connect := c.Protocol == "TCP"
	switch {
	case !connect && c.Matcher.HTTPCode == "":
		c.Matcher.HTTPCode = "200-399"
	case connect && (c.Path != "" || c.Matcher != Matcher{}):
		faults.add(path, "a TCP check has no path and no matcher")
	case connect && g.TargetType == "alb":
		faults.add(path+".protocol", "a load balancer as target is checked by HTTP or HTTPS")
	}
	if connect {
		c.Protocol = ""
	}
	h := planHealthCheck(g, path, faults)
	if h == nil {
		return nil
	}
	if connect {
		h.ask, h.codes = connected, []codeRange{{0, 0}}
	}
	if set.proxy {
		h.preface = localProxyHeader()
	}
	return h
}

// connected is a TCP check: a target that has accepted is healthy, and sees an end at once.
func connected(context.Context, *healthCheck, net.Conn, string, int) (int, error) { return 0, nil }

// checkHost is the Host of a check: the node's address, and the port of the listener that leads to the group.
func (g *group) checkHost(node net.Addr) string {
	host := addrPort(node).Addr().String()
	for _, l := range g.s.listeners {
		if l.plan.network != nil && slices.ContainsFunc(l.plan.network.groups, func(s share) bool { return s.group == g }) {
			return net.JoinHostPort(host, strconv.Itoa(l.port))
		}
	}
	return net.JoinHostPort(host, "0") // not in use, so not checked
}
