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
	targetTime           time.Duration // from the request's first byte to the target until the answer's head
	received             int64         // bytes from the client, head included
	priority             int           // of the rule: 0 for the default, -1 for a request that met none
	actions, redirect    string        // what the rule did, and where it sent the client
	tunnel               bool
}

func newRecord(s *Server, l *listener, state *connState, req *request) *record {
	return &record{s: s, l: l, state: state, req: req, received: req.headSize}
}
