package albsim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// function is an invocation's URL that answers with what serve makes of the event.
func function(t *testing.T, serve func(w http.ResponseWriter, event map[string]any)) string {
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event map[string]any
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			t.Errorf("event: %v", err)
		}
		serve(w, event)
	}))
	t.Cleanup(ts.Close)
	return ts.URL + "/2015-03-31/functions/function/invocations"
}

func lambda(target string) Config {
	cfg := plain("127.0.0.1:1")
	cfg.TargetGroups[0] = TargetGroup{Name: "t", TargetType: "lambda", Targets: []string{target}}
	return cfg
}

func TestALB_UPG_10_UpgradeToLambdaIs400(t *testing.T) {
	m := start(t, lambda(function(t, func(http.ResponseWriter, map[string]any) { t.Error("the function was invoked") })), Options{})
	for i, token := range []string{"websocket", "x-tls-tunnel"} {
		if status, head, _ := m.request(upgradeRequest(token)); status != 400 {
			t.Errorf("%s: got %q", token, head)
		}
		if line := strings.Join(m.logLines(i + 1)[i], " "); !strings.Contains(line, ` "LambdaWebsocketNotSupported" `) || !strings.Contains(line, " 400 - ") {
			t.Errorf("log %q", line)
		}
	}
}

func TestLambdaGetsTheEventAndAnswers(t *testing.T) {
	var got map[string]any
	m := start(t, lambda(function(t, func(w http.ResponseWriter, event map[string]any) {
		got = event
		body := base64.StdEncoding.EncodeToString([]byte("made"))
		fmt.Fprintf(w, `{"statusCode":201,"statusDescription":"201 Made","headers":{"X-Of":"function"},"body":%q,"isBase64Encoded":true}`, body)
	})), Options{})
	c := m.dial()
	for _, one := range []struct{ kind, sent, want string }{
		{"text/plain", "hello", "hello"},
		{"image/png", "\x00\x01", base64.StdEncoding.EncodeToString([]byte("\x00\x01"))},
	} {
		c.send(fmt.Sprintf("POST /p?a=%%20&b HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: %d\r\n\r\n%s",
			one.kind, len(one.sent), one.sent))
		status, head, body := c.response()
		if status != 201 || body != "made" || fieldOf(head, "X-Of") != "function" || !strings.HasPrefix(head, "HTTP/1.1 201 Made\r\n") {
			t.Errorf("got %q %q", head, body)
		}
		headers, _ := got["headers"].(map[string]any)
		query, _ := got["queryStringParameters"].(map[string]any)
		elb := fmt.Sprint(got["requestContext"])
		if got["httpMethod"] != "POST" || got["path"] != "/p" || query["a"] != "%20" || query["b"] != "" || headers["x-two"] != "2" ||
			headers["x-forwarded-for"] != "127.0.0.1" || got["body"] != one.want || got["isBase64Encoded"] != (one.kind == "image/png") ||
			!strings.Contains(elb, "targetgroup/t/") {
			t.Errorf("event %v", got)
		}
	}
}

func TestLambdaThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		answer, reason string
		want           int
	}{
		"no JSON":     {"hello", "LambdaInvalidResponse", 502},
		"no status":   {`{"body":"x"}`, "LambdaInvalidResponse", 502},
		"a bad field": {`{"statusCode":200,"headers":{"A":"b\r\nC: d"}}`, "LambdaInvalidResponse", 502},
		"too much":    {`{"statusCode":200,"body":"` + strings.Repeat("x", lambdaLimit) + `"}`, "LambdaResponseTooLarge", 502},
		"an error":    {"", "LambdaUnhandled", 502},
		"nothing":     {"", "LambdaConnectionTimeout", 504},
	} {
		url := function(t, func(w http.ResponseWriter, _ map[string]any) {
			if c.answer == "" {
				w.Header().Set("X-Amz-Function-Error", "Unhandled")
			}
			_, _ = io.WriteString(w, c.answer)
		})
		if name == "nothing" {
			url = "http://" + closedPort(t) + "/invoke"
		}
		m := start(t, lambda(url), Options{})
		if status, head, _ := m.request(plainGet); status != c.want {
			t.Errorf("%s: got %q", name, head)
		}
		if line := strings.Join(m.logLines(1)[0], " "); !strings.Contains(line, ` "`+c.reason+`" `) {
			t.Errorf("%s: log %q", name, line)
		}
	}
}

func TestLambdaErrorsHaveTheirWordsInTheLog(t *testing.T) {
	for kind, reason := range map[string]string{
		"TooManyRequestsException:http://internal.amazon.com/": "LambdaThrottling",
		"ResourceNotFoundException":                            "LambdaResourceNotFound",
		"AccessDeniedException":                                "LambdaAccessDenied",
		"KMSDisabledException":                                 "LambdaKMSDisabledException",
		"ServiceException":                                     "LambdaServiceException",
		"SomethingNewException":                                "LambdaServiceException",
		"":                                                     "LambdaServiceException",
		"hangs up":                                             "LambdaServiceException",
	} {
		m := start(t, lambda(function(t, func(w http.ResponseWriter, _ map[string]any) {
			if kind == "hangs up" {
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("X-Amzn-ErrorType", kind)
			w.WriteHeader(http.StatusTooManyRequests)
		})), Options{})
		if status, head, _ := m.request(plainGet); status != 502 {
			t.Errorf("%s: got %q", kind, head)
		}
		if line := strings.Join(m.logLines(1)[0], " "); !strings.Contains(line, ` "`+reason+`" `) {
			t.Errorf("%s: log %q, want %s", kind, line, reason)
		}
	}
}

func TestLambdaIsNotToldOfFieldsThatAreNotUTF8(t *testing.T) {
	for _, multi := range []bool{false, true} {
		cfg := lambda(function(t, func(http.ResponseWriter, map[string]any) { t.Error("the function was invoked") }))
		cfg.TargetGroups[0].Attributes = map[string]any{"lambda.multi_value_headers.enabled": multi}
		m := start(t, cfg, Options{})
		if status, head, _ := m.request("GET / HTTP/1.1\r\nHost: a\r\nX-Latin: \xe9t\xe9\r\n\r\n"); status != 502 {
			t.Errorf("got %q", head)
		}
		if line := strings.Join(m.logLines(1)[0], " "); !strings.Contains(line, ` "LambdaBadRequest" `) {
			t.Errorf("log %q", line)
		}
	}
}

func TestLambdaBodyOver1MBIs413(t *testing.T) {
	m := start(t, lambda(function(t, func(w http.ResponseWriter, _ map[string]any) { fmt.Fprint(w, `{"statusCode":200}`) })), Options{})
	big := strings.Repeat("x", lambdaLimit+1)
	for framing, want := range map[string]int{
		fmt.Sprintf("Content-Length: %d\r\n\r\n", lambdaLimit+1):                              413,
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(big), big): 413,
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", lambdaLimit, big[1:]):                     200,
	} {
		if status, head, _ := m.request("POST / HTTP/1.1\r\nHost: a\r\n" + framing); status != want {
			t.Errorf("%.40q: got %q, want %d", framing, head, want)
		}
	}
}

func TestLambdaGroupsAreChecked(t *testing.T) {
	cfg := lambda("127.0.0.1:80")
	cfg.TargetGroups[0].Protocol = "HTTP"
	_, err := New(cfg, Options{})
	for _, want := range []string{"neither protocol", "URL of an invocation"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestLambdaWithMultiValueHeaders(t *testing.T) {
	const request = "GET /p?k=1&k=2&one=%20 HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\n\r\n"
	const answer = `{"statusCode":200,"statusDescription":"200 OK","headers":{"X-Single":"1","Set-Cookie":"z"},` +
		`"multiValueHeaders":{"Set-Cookie":["a=1","b=2"],"Connection":["close"],"X-Multi":["m"]},"body":"x"}`
	for _, multi := range []bool{false, true} {
		var got map[string]any
		cfg := lambda(function(t, func(w http.ResponseWriter, event map[string]any) {
			got = event
			_, _ = io.WriteString(w, answer)
		}))
		cfg.TargetGroups[0].Attributes = map[string]any{"lambda.multi_value_headers.enabled": multi}
		status, head, body := start(t, cfg, Options{}).request(request)
		if status != 200 || body != "x" {
			t.Errorf("multi %v: %q %q", multi, head, body)
		}
		cookies := regexp.MustCompile(`(?m)^Set-Cookie: (.*)\r$`).FindAllStringSubmatch(head, -1)
		wants := map[string]any{
			"headers": "2", "multiValueHeaders": nil, "queryStringParameters": "2%20", "multiValueQueryStringParameters": nil,
		}
		if multi {
			wants = map[string]any{
				"headers": nil, "multiValueHeaders": "[1 2]", "queryStringParameters": nil, "multiValueQueryStringParameters": "[1 2] [%20]",
			}
			if len(cookies) != 2 || cookies[0][1] != "a=1" || cookies[1][1] != "b=2" || !has(head, "X-Multi") || has(head, "X-Single") ||
				strings.Contains(head, "close") {
				t.Errorf("multi: the client got %q", head)
			}
		} else if len(cookies) != 1 || cookies[0][1] != "z" || has(head, "X-Multi") || !has(head, "X-Single") {
			t.Errorf("single: the client got %q", head)
		}
		for name, want := range wants {
			values, there := got[name].(map[string]any)
			switch {
			case want == nil && there:
				t.Errorf("multi %v: the event has %s", multi, name)
			case want == nil:
			case strings.HasSuffix(name, "eaders") && fmt.Sprint(values["x-two"]) != want,
				strings.HasSuffix(name, "arameters") && fmt.Sprint(values["k"], values["one"]) != want:
				t.Errorf("multi %v: %s is %v, want %v", multi, name, values, want)
			}
		}
	}
}

func TestLambdaAnswersWithFieldsOfEitherKindThatAreBadAreRefused(t *testing.T) {
	m := start(t, lambda(function(t, func(w http.ResponseWriter, _ map[string]any) {
		_, _ = io.WriteString(w, `{"statusCode":200,"multiValueHeaders":{"A":["b","c\r\nD: e"]}}`)
	})), Options{})
	if status, head, _ := m.request(plainGet); status != 502 {
		t.Errorf("got %q", head)
	}
}
