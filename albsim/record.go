package albsim

import "time"

// record is what became of one request, noted down by whoever knows it: alb.md section 10. done writes it out.
type record struct {
	s     *Server
	l     *listener
	state *connState
	req   *request

	status, targetStatus int           // 0: none
	target, group        string        // the target's address and its group's name, or empty
	trace                string        // X-Amzn-Trace-Id as the target got it
	requestTime          time.Duration // from the request's arrival to its first byte to a target
	targetTime           time.Duration // from there until the answer's head
	received             int64         // bytes from the client, head included
	priority             int           // of the rule: 0 for the default, -1 for a request that met none
	actions, redirect    string        // what the rule did, and where it sent the client
	errorReason          string        // AWS's word for what a target or action failed of
	rewritten            rewritten     // what the rule's transforms did
	tunnel               bool
}

func newRecord(s *Server, l *listener, state *connState, req *request) record {
	return record{s: s, l: l, state: state, req: req, received: req.headSize}
}

// did adds to the actions.
func (r *record) did(action string) {
	if r.actions != "" {
		action = r.actions + "," + action
	}
	r.actions = action
}

// sent notes that the request begins to go to a target.
func (r *record) sent() time.Time {
	now := time.Now()
	r.requestTime = now.Sub(r.req.received)
	return now
}

// done ends the record with what was sent to the client. For a tunnel that is when it has closed, and the bytes are those
// of the whole of it.
func (r *record) done(sent int64) {
	r.s.count.answered(r.status, r.targetStatus)
	r.s.count.processedBytes.Add(r.received + sent)
	if addr := r.req.client.Addr(); addr.Is6() && !addr.Is4In6() {
		r.s.count.ipv6Requests.Add(1)
		r.s.count.ipv6Bytes.Add(r.received + sent)
	}
	if g := r.s.plan.groups[r.group]; g != nil && r.targetStatus != 0 {
		g.count.answered(r.targetStatus, r.targetTime)
	}
	if r.req.class.tier > compliant {
		r.s.count.nonCompliant.Add(1)
	}
	r.line(sent)
}
