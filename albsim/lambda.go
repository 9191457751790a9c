package albsim

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// overLambda is the carrier of a group of target type lambda: alb.md 1.12 and section 7 (LAM). The target is the URL of an
// invocation, such as the runtime interface emulator's http://host:port/2015-03-31/functions/function/invocations. It gets
// AWS's event by POST and answers with the function's response.
type overLambda struct {
	// multi has event and response hold lists of values, in fields of their own; without it several values of one name
	// become the last of them.
	multi bool
}

const lambdaLimit = 1 << 20 // of a request's body, and of a response: D, LIM

type lambdaEvent struct {
	RequestContext struct {
		ELB struct {
			TargetGroupARN string `json:"targetGroupArn"`
		} `json:"elb"`
	} `json:"requestContext"`
	Method       string              `json:"httpMethod"`
	Path         string              `json:"path"`
	Query        map[string]string   `json:"queryStringParameters,omitzero"`
	Headers      map[string]string   `json:"headers,omitzero"`
	MultiQuery   map[string][]string `json:"multiValueQueryStringParameters,omitzero"`
	MultiHeaders map[string][]string `json:"multiValueHeaders,omitzero"`
	Body         string              `json:"body"`
	Base64       bool                `json:"isBase64Encoded"`
}

type lambdaAnswer struct {
	Status       int                 `json:"statusCode"`
	Description  string              `json:"statusDescription"`
	Headers      map[string]string   `json:"headers"`
	MultiHeaders map[string][]string `json:"multiValueHeaders"`
	Body         string              `json:"body"`
	Base64       bool                `json:"isBase64Encoded"`
}

func (overLambda) accepts(*request) bool { return true }

func (o overLambda) carry(ctx context.Context, x *exchange, l *lease, fields []field) *targetConn {
	ctx, end := l.within(ctx)
	defer end()
	if len(x.req.upgrade) > 0 { // ALB-UPG-10
		x.rec.errorReason = "LambdaWebsocketNotSupported" // alb.md 1.12; AWS's list of 2023 has no word for it
		x.page(400)
		return nil
	}
	body, status := x.wholeBody()
	if status != 0 {
		if status == 413 {
			x.rec.errorReason = "LambdaRequestTooLarge"
		}
		x.page(status)
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x.dog.arm(func() {
		cancel()
		if x.started.Load() {
			x.out.cut()
		}
	})
	defer x.dog.disarm()
	stopWatch := func() {}
	if x.body == nil || x.body.done.Load() {
		stopWatch = x.out.watch(func() {
			x.gone.Store(true)
			cancel()
		})
	}
	begun := x.rec.sent()
	answer, fault, err := x.s.invoke(ctx, l.target.address, o.event(x.req, fields, l.group.name, body))
	x.rec.targetTime = time.Since(begun)
	stopWatch()
	switch {
	case x.gone.Load():
		x.rec.status, x.close = 460, true
	case err != nil:
		x.s.log.Debug("function not invoked", "target", l.target.address, "err", err)
		status := 502
		if de, ok := errors.AsType[*dialError](err); ok {
			status = de.status
		}
		x.rec.errorReason = fault
		x.page(status)
	default:
		x.rec.targetStatus = answer.Status
		r, body := answer.response(x.req.method, o.multi)
		x.passOn(r, body, nil)
	}
	return nil
}

// wholeBody reads what a function gets in one piece. The status is 0, or what answers a request without one.
func (x *exchange) wholeBody() (body []byte, status int) {
	if x.body == nil {
		return nil, 0
	}
	if x.req.length > lambdaLimit {
		x.close = true
		return nil, 413
	}
	x.dog.arm(x.out.stopBody)
	body, err := io.ReadAll(io.LimitReader(x.body, lambdaLimit+1))
	idle := x.dog.disarm()
	x.close = x.close || !x.body.done.Load()
	switch {
	case idle:
		return nil, 408
	case errors.Is(err, errBadChunk):
		x.req.class.worsen(severe, "BadTransferEncoding")
		return nil, 400
	case err != nil:
		return nil, 400
	case len(body) > lambdaLimit:
		return nil, 413
	}
	return body, 0
}

func (o overLambda) event(r *request, fields []field, group string, body []byte) *lambdaEvent {
	e := &lambdaEvent{Method: r.method, Path: r.path, Body: string(body)}
	e.RequestContext.ELB.TargetGroupARN = fmt.Sprintf(groupARN, group)
	query, headers := map[string][]string{}, map[string][]string{}
	for pair := range strings.SplitSeq(r.query, "&") {
		if name, value, _ := strings.Cut(pair, "="); name != "" {
			query[name] = append(query[name], value) // as it came: AWS leaves the decoding to the function
		}
	}
	for _, f := range fields {
		if name := strings.ToLower(f.name); f.raw == "" && name != "transfer-encoding" {
			headers[name] = append(headers[name], f.value)
		}
	}
	if o.multi {
		e.MultiQuery, e.MultiHeaders = query, headers
	} else {
		e.Query, e.Headers = lastOf(query), lastOf(headers)
	}
	if !utf8.Valid(body) || !textual(lastOf(headers)["content-type"]) || len(headers["content-encoding"]) > 0 {
		e.Body, e.Base64 = base64.StdEncoding.EncodeToString(body), len(body) > 0
	}
	return e
}

// lastOf is what is left of several values without multi-value headers: LAM.
func lastOf(all map[string][]string) map[string]string {
	out := make(map[string]string, len(all))
	for name, values := range all {
		out[name] = values[len(values)-1]
	}
	return out
}

// textual are the media types that a function gets as they are: LAM.
func textual(kind string) bool {
	kind, _, _ = strings.Cut(strings.ToLower(kind), ";")
	switch strings.TrimSpace(kind) {
	case "", "application/json", "application/javascript", "application/xml":
		return true
	}
	return strings.HasPrefix(kind, "text/")
}

// fields are those of the answer, by name: a map has no order.
func (a *lambdaAnswer) fields(multi bool) []field {
	var out []field
	if multi {
		for _, name := range slices.Sorted(maps.Keys(a.MultiHeaders)) {
			for _, value := range a.MultiHeaders[name] {
				out = append(out, field{name: name, value: value})
			}
		}
		return out
	}
	for _, name := range slices.Sorted(maps.Keys(a.Headers)) {
		out = append(out, field{name: name, value: a.Headers[name]})
	}
	return out
}

// unheeded are fields of a function's answer that do not go on: the balancer computes the length, and does not honor those of a
// connection (LAM, whose examples are Connection and Transfer-Encoding).
var unheeded = []string{"Content-Length", "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

// response is the answer for a client, with its body. Which of the two kinds of fields counts is the group's, whatever the
// function has given: LAM.
func (a *lambdaAnswer) response(method string, multi bool) (*response, io.Reader) {
	reason, ok := strings.CutPrefix(a.Description, strconv.Itoa(a.Status)+" ")
	if !ok {
		reason = http.StatusText(a.Status)
	}
	r := &response{status: a.Status, reason: reason, length: int64(len(a.Body))}
	for _, f := range a.fields(multi) {
		if !slices.ContainsFunc(unheeded, f.is) {
			r.fields = append(r.fields, f)
		}
	}
	if a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		r.length = 0
		return r, nil
	}
	r.fields = append(r.fields, field{name: "Content-Length", value: strconv.Itoa(len(a.Body))})
	if method == http.MethodHead {
		return r, nil
	}
	return r, strings.NewReader(a.Body)
}

func planLambda(g TargetGroup, out *group, path string, faults *Faults) {
	out.carrier = lambdaAttributes.read(g.Attributes, path+".attributes", faults)
	if g.Protocol != "" || g.ProtocolVersion != "" {
		faults.add(path+".protocol", "a group of target type lambda has neither protocol nor protocol version")
	}
	if len(g.Targets) > 1 {
		faults.add(path+".targets", "a group of target type lambda has one target")
	}
	for i, t := range g.Targets {
		if u, err := url.Parse(t); err != nil || u.Scheme != "http" || u.Host == "" || u.Path == "" {
			faults.add(path+".targets["+strconv.Itoa(i)+"]", "%q: must be the http URL of an invocation", t)
		}
		out.targets = append(out.targets, newTarget(t))
	}
}
