package checks

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of stickiness.
const (
	bothCookies  conformance.Outcome = "both-cookies"
	noCookie     conformance.Outcome = "no-cookie"
	otherCookie  conformance.Outcome = "other-cookie"
	pinned       conformance.Outcome = "pinned"
	wandered     conformance.Outcome = "not-pinned"
	byWeight     conformance.Outcome = "by-weight"
	againstShare conformance.Outcome = "against-the-weights"
)

func init() {
	const sticky, page = "AWS, Application Load Balancers: sticky sessions", awsDocs + "application/edit-target-group-attributes.html"
	variant(conformance.Check{
		ID: "ALB-TG-02", Slug: "alb-sticky-cookies", Level: conformance.Must, Features: []string{door.FeatureGroupAttributes},
		Title: "Stickiness sets AWSALB and AWSALBCORS, with Expires in seven days and no Max-Age",
		Why: "Requests from another site bring the second cookie alone, for its SameSite=None; Secure. Old libraries read Expires and not Max-Age. A " +
			"client that keeps neither gets another target each time.",
		Clauses: clauses(fact("ALB-TG-02", "D", sticky, page)),
		Accept:  pass("both cookies, as documented", bothCookies), Run: stickyCookies,
		Forbid: map[conformance.Outcome]string{noCookie: "one of the cookies is missing", otherCookie: "an attribute of a cookie is another"},
	})
	variant(conformance.Check{
		ID: "ALB-TG-03", Slug: "alb-sticky-garbage", Level: conformance.Must, Features: []string{door.FeatureGroupAttributes},
		Title:   "AWSALB leads back to its target, and one that cannot be read gets a target and a new cookie",
		Why:     "Cookies outlive targets and are cut by proxies. What cannot be read must cost the client its session at most, and never its request.",
		Clauses: clauses(fact("ALB-TG-03", "D", sticky, page)),
		Accept:  pass("ten requests reach the target of the cookie; garbage is served and answered with a new one", pinned), Run: stickyGarbage,
		Forbid: map[conformance.Outcome]string{wandered: "requests with the cookie reached another target", noCookie: "there was no new cookie", alone: "the request was refused for its cookie"},
	})
	variant(conformance.Check{
		ID: "ALB-RULE-05", Slug: "alb-weights", Level: conformance.Must, Features: []string{door.FeatureRules, door.FeatureGroups},
		Title: "A forward spreads by weight, 0 gets nothing, and AWSALBTG keeps a client with its group",
		Why: "New versions are tried on a share of the clients, which grows. A client that is led now to the old version and now to the new one " +
			"meets both halves of every change.",
		Clauses: clauses(fact("ALB-RULE-05", "D", "AWS, Application Load Balancers: listener rules", rulesPage)),
		Accept:  pass("of 100 requests with weights 3, 1 and 0 50 to 95 go to the first group and none to the third, and a cookie pins twenty", byWeight), Run: weights,
		Forbid: map[conformance.Outcome]string{againstShare: "the shares are others", noCookie: "there is no AWSALBTG", wandered: "requests with the cookie reached another group"},
	})
}

// whichTarget is the field by which a target that the check plays says its number.
const whichTarget = "X-Trb-Target"

// playTargets plays n targets over plain HTTP until stopped.
func playTargets(ctx context.Context, t *conformance.T, n int) (targets []door.BalancerTarget, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var listeners []net.Listener
	stop = func() {
		cancel()
		for _, ln := range listeners {
			_ = ln.Close()
		}
		wg.Wait()
	}
	for i := range n {
		ln, err := t.Listen(ctx)
		if err != nil {
			stop()
			return nil, nil, err
		}
		listeners, targets = append(listeners, ln), append(targets, door.BalancerTarget{Address: ln.Addr().String()})
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n%s: %d\r\n\r\n", whichTarget, i)
		wg.Go(func() { answersAll(ctx, t, ln, answer, func() {}) })
	}
	return targets, stop, nil
}

// visit makes a request on a connection of its own, and says the number of the target that answered.
func visit(ctx context.Context, t *conformance.T, lines ...string) (int, *wire.Response, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = front.Close() }()
	if err := bounded(t, front, []byte(get(t, lines...))); err != nil {
		return 0, nil, err
	}
	within(t, front)
	resp, _, err := wire.ReadResponse(front)
	if err != nil {
		return 0, nil, err
	}
	which, err := strconv.Atoi(resp.Header.Get(whichTarget))
	if err != nil {
		return 0, nil, &errAlone{resp} // it is none of a target's
	}
	return which, resp, nil
}

// cookieOf is a cookie that an answer sets, nil when it does not.
func cookieOf(resp *wire.Response, name string) *http.Cookie {
	all := (&http.Response{Header: resp.Header}).Cookies()
	if i := slices.IndexFunc(all, func(c *http.Cookie) bool { return c.Name == name }); i >= 0 {
		return all[i]
	}
	return nil
}

// returns makes requests with a cookie and says how many reached the target of that number.
func returns(ctx context.Context, t *conformance.T, which, requests int, c *http.Cookie) (reached int, err error) {
	for range requests {
		got, _, err := visit(ctx, t, "Cookie: "+c.Name+"="+c.Value)
		if err != nil {
			return reached, err
		}
		if got == which {
			reached++
		}
	}
	return reached, nil
}

// stickyGroup plays two targets of a group with stickiness.
func stickyGroup(ctx context.Context, t *conformance.T) (stop func(), err error) {
	targets, stop, err := playTargets(ctx, t, 2)
	if err != nil {
		return nil, err
	}
	err = t.Relaunch(ctx, func(doc *door.Balancer) {
		doc.Targets = targets
		doc.TargetGroupAttributes = map[string]any{"stickiness.enabled": true, "stickiness.type": "lb_cookie"}
	})
	if err != nil {
		stop()
	}
	return stop, err
}

func stickyCookies(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	stop, err := stickyGroup(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer stop()
	_, resp, err := visit(ctx, t)
	if err != nil {
		return unlessAlone(err)
	}
	for _, name := range []string{"AWSALB", "AWSALBCORS"} {
		c := cookieOf(resp, name)
		if c == nil || c.Value == "" {
			return saw(noCookie, "%s is not among %q", name, resp.Header.Values("Set-Cookie")), nil
		}
		in := time.Until(c.Expires)
		cross := c.SameSite == http.SameSiteNoneMode && c.Secure
		if c.MaxAge != 0 || in < 7*24*time.Hour-time.Hour || in > 7*24*time.Hour+time.Hour || cross != (name == "AWSALBCORS") {
			return saw(otherCookie, "%s", c.Raw), nil
		}
	}
	return saw(bothCookies, "%s", strings.Join(resp.Header.Values("Set-Cookie"), " | ")), nil
}

func stickyGarbage(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	const requests = 10
	stop, err := stickyGroup(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer stop()
	which, resp, err := visit(ctx, t, "Cookie: AWSALB=no-balancer-made-this")
	if err != nil {
		return unlessAlone(err)
	}
	c := cookieOf(resp, "AWSALB")
	if c == nil || c.Value == "" || c.Value == "no-balancer-made-this" {
		return saw(noCookie, "for a cookie that cannot be read: %q", resp.Header.Values("Set-Cookie")), nil
	}
	reached, err := returns(ctx, t, which, requests, c)
	if err != nil {
		return unlessAlone(err)
	}
	if reached != requests {
		return saw(wandered, "%d of %d requests reached the target of their cookie", reached, requests), nil
	}
	return saw(pinned, "garbage was served with a new cookie, and %d requests with it reached the same target", requests), nil
}

func weights(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	const requests, pins = 100, 20
	targets, stop, err := playTargets(ctx, t, 3)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer stop()
	err = t.Relaunch(ctx, func(doc *door.Balancer) {
		forward := door.Action{Type: "forward", Stickiness: &door.GroupStickiness{Enabled: true, DurationSeconds: 600}}
		for i, weight := range []int{3, 1, 0} {
			name := fmt.Sprintf("group-%d", i)
			doc.TargetGroups = append(doc.TargetGroups, door.TargetGroup{Name: name, Targets: targets[i : i+1]})
			forward.TargetGroups = append(forward.TargetGroups, door.WeightedGroup{TargetGroup: name, Weight: weight})
		}
		doc.Rules = []door.Rule{{Priority: 10, Conditions: []door.Condition{{Field: "path-pattern", Values: []string{"/*"}}}, Actions: []door.Action{forward}}}
	})
	if err != nil {
		return conformance.Observation{}, err
	}
	var counts [3]int
	var cookies [3]*http.Cookie
	for range requests {
		which, resp, err := visit(ctx, t)
		if err != nil {
			return unlessAlone(err)
		}
		counts[which]++
		cookies[which] = cookieOf(resp, "AWSALBTG")
	}
	if counts[0] < 50 || counts[0] > 95 || counts[2] > 0 { // three quarters: more than four standard deviations to either side
		return saw(againstShare, "with weights 3, 1 and 0 of %d requests: %v", requests, counts), nil
	}
	if cookies[1] == nil {
		return saw(noCookie, "an answer sets no AWSALBTG"), nil
	}
	reached, err := returns(ctx, t, 1, pins, cookies[1])
	if err != nil {
		return unlessAlone(err)
	}
	if reached != pins {
		return saw(wandered, "%d of %d requests reached the group of their cookie", reached, pins), nil
	}
	return saw(byWeight, "%v of %d requests, and %d with the cookie of the smaller share", counts, requests, pins), nil
}
