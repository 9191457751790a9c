package albsim

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// errNotUTF8 is a request that a function cannot be told of.
var errNotUTF8 = errors.New("the fields of the request are not UTF-8")

// sayable tells whether the event is as JSON what it is: the body is, in one way or the other.
func (e *lambdaEvent) sayable() bool {
	whole := utf8.ValidString(e.Path)
	for _, of := range []map[string]string{e.Query, e.Headers} {
		for name, value := range of {
			whole = whole && utf8.ValidString(name) && utf8.ValidString(value)
		}
	}
	for _, of := range []map[string][]string{e.MultiQuery, e.MultiHeaders} {
		for name, values := range of {
			whole = whole && utf8.ValidString(name) && utf8.ValidString(strings.Join(values, ""))
		}
	}
	return whole
}

// invoke has the function answer. A fault is the access log's word for the error beside it; they are those of AWS's list of error
// reason codes (ACC, awsdocs/elb-application-load-balancers-user-guide@c9a99d2), which has for a call that fails on the way
// LambdaServiceException, for a function that does LambdaUnhandled, and for what is the balancer's own LambdaUnhandledException.
// All but a connection that is not made are answered with 502: TRB says so of a function's errors, and it is assumed of the others.
func (s *Server) invoke(ctx context.Context, address string, e *lambdaEvent) (a *lambdaAnswer, fault string, err error) {
	if !e.sayable() {
		return nil, "LambdaBadRequest", errNotUTF8
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, "LambdaUnhandledException", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(b))
	if err != nil {
		return nil, "LambdaUnhandledException", err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, s.scaled(s.plan.profile.ConnectTimeout))
		defer cancel()
		c, err := s.dial(ctx, net.Dialer{}, network, address, false)
		if err != nil {
			s.count.targetConnErrors.Add(1)
			return nil, &dialError{504, err}
		}
		return c, nil
	}}
	resp, err := transport.RoundTrip(req)
	if _, ok := errors.AsType[*dialError](err); ok {
		return nil, "LambdaConnectionTimeout", err
	}
	if err != nil {
		return nil, "LambdaServiceException", err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(io.LimitReader(resp.Body, lambdaLimit+1))
	switch {
	case err != nil:
		return nil, "LambdaServiceException", err
	case len(b) > lambdaLimit:
		return nil, "LambdaResponseTooLarge", errors.New("response over 1 MB")
	case resp.StatusCode != http.StatusOK:
		return nil, invokeFault(resp.Header.Get("X-Amzn-ErrorType")), fmt.Errorf("status %d: %.100q", resp.StatusCode, b)
	case resp.Header.Get("X-Amz-Function-Error") != "":
		return nil, "LambdaUnhandled", fmt.Errorf("%.100q", b)
	}
	a = &lambdaAnswer{}
	if err := json.Unmarshal(b, a); err != nil {
		return nil, "LambdaInvalidResponse", err
	}
	if a.Base64 {
		raw, err := base64.StdEncoding.DecodeString(a.Body)
		if err != nil {
			return nil, "LambdaInvalidResponse", err
		}
		a.Body = string(raw)
	}
	for _, multi := range []bool{false, true} {
		for _, f := range a.fields(multi) {
			if !validToken(f.name) || strings.ContainsAny(f.value, "\x00\r\n") {
				return nil, "LambdaInvalidResponse", fmt.Errorf("field %.60q", f.name)
			}
		}
	}
	if a.Status < 200 || a.Status > 599 || strings.ContainsAny(a.Description, "\x00\r\n") {
		return nil, "LambdaInvalidResponse", fmt.Errorf("statusCode %d", a.Status)
	}
	return a, "", nil
}

// invokeFaults are the words for errors of Lambda's Invoke, by its names for them, which stand in X-Amzn-ErrorType (what is behind
// a colon is not part of them: aws-sdk-go-v2, restjson.GetErrorInfo).
var invokeFaults = map[string]string{
	"AccessDeniedException":          "LambdaAccessDenied",
	"InvalidRequestContentException": "LambdaBadRequest",
	"RequestTooLargeException":       "LambdaRequestTooLarge",
	"ResourceNotFoundException":      "LambdaResourceNotFound",
	"TooManyRequestsException":       "LambdaThrottling",
}

// sameFaults are those whose words are Lambda's names with Lambda in front.
var sameFaults = []string{
	"EC2AccessDeniedException", "EC2ThrottledException", "EC2UnexpectedException", "ENILimitReachedException", "InvalidRuntimeException",
	"InvalidSecurityGroupIDException", "InvalidSubnetIDException", "InvalidZipFileException", "KMSAccessDeniedException",
	"KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException", "ServiceException", "SubnetIPAddressLimitReachedException",
}

func invokeFault(kind string) string {
	kind, _, _ = strings.Cut(kind, ":")
	if word, ok := invokeFaults[kind]; ok {
		return word
	}
	if slices.Contains(sameFaults, kind) {
		return "Lambda" + kind
	}
	return "LambdaServiceException"
}
