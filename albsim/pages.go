package albsim

import (
	"net/http"
	"strconv"
	"time"
)

// titles are the reason phrases of the balancer's own pages. Those of 502 and 503 were seen on the wire, those of 301,
// 400, 403 and 504 follow from the observed length 92+2*len(title); the others are assumed to be of the same family.
// 463, 464 and 561 are AWS's own numbers: no phrase, no body (assumed).
var titles = map[int]string{
	301: "Moved Permanently",
	302: "Found",
	400: "Bad Request",
	401: "Authorization Required",
	403: "Forbidden",
	405: "Not Allowed",
	408: "Request Time-out",
	413: "Request Entity Too Large",
	414: "Request-URI Too Large",
	500: "Internal Server Error",
	501: "Not Implemented",
	502: "Bad Gateway",
	503: "Service Temporarily Unavailable",
	504: "Gateway Time-out",
	505: "HTTP Version Not Supported",
	507: "Insufficient Storage",
}

// haproxyPages are HAProxy's own: its phrase and a sentence (2.6.12, as its program has them).
var haproxyPages = map[int][2]string{
	400: {"Bad request", "Your browser sent an invalid request."},
	403: {"Forbidden", "Request forbidden by administrative rules."},
	405: {"Method Not Allowed", "A request was made of a resource using a request method not supported by that resource"},
	408: {"Request Time-out", "Your browser didn't send a complete request in time."},
	500: {"Internal Server Error", "An internal server error occurred."},
	501: {"Not Implemented", "The server does not support the functionality required to fulfill the request."},
	502: {"Bad Gateway", "The server returned an invalid or incomplete response."},
	503: {"Service Unavailable", "No server is available to handle this request."},
	504: {"Gateway Time-out", "The server didn't respond in time."},
}

// style is the knob PageStyle: the phrase of a status, and the page that it has.
func (p *Profile) style(status int) (phrase, kind, body string) {
	phrase = titles[status]
	if p.PageStyle == "haproxy" && haproxyPages[status] != [2]string{} {
		phrase = haproxyPages[status][0]
	}
	if phrase == "" || p.PageStyle == "empty" {
		return phrase, "", ""
	}
	title := strconv.Itoa(status) + " " + phrase
	switch p.PageStyle {
	case "haproxy":
		return phrase, "text/html", "<html><body><h1>" + title + "</h1>\n" + haproxyPages[status][1] + "\n</body></html>\n"
	case "text":
		return phrase, "text/plain; charset=utf-8", phrase + "\n"
	}
	rule := "" // nginx draws one, with its name below; the ALB's pages are the same without (alb.md section 7, ALB-ERR-01)
	if p.PageStyle == "nginx" {
		rule = "<hr><center>" + p.ServerHeader + "</center>\r\n"
	}
	return phrase, "text/html", "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n" +
		"<center><h1>" + title + "</h1></center>\r\n" + rule + "</body>\r\n</html>\r\n"
}

// page is what the balancer answers of itself.
func page(p *Profile, status int) (*response, []byte) {
	phrase, kind, body := p.style(status)
	r := &response{status: status, reason: phrase, own: true, length: int64(len(body))}
	r.fields = append(ownName(p), field{name: "Date", value: httpDate()})
	if body != "" {
		r.fields = append(r.fields, field{name: "Content-Type", value: kind})
	}
	r.fields = append(r.fields, field{name: "Content-Length", value: strconv.Itoa(len(body))})
	return r, []byte(body)
}

// ownName is the Server field of what the balancer writes itself.
func ownName(p *Profile) []field {
	if p.ServerHeader == "" {
		return nil
	}
	return []field{{name: "Server", value: p.ServerHeader}}
}

// grpcPage is what a gRPC client gets in its place, a head that ends the stream: ALB-ERR-09. What was seen is 14 for 502; the
// others are what gRPC itself reads from an HTTP status (grpc/grpc doc/http-grpc-status-mapping.md).
func grpcPage(p *Profile, status int) *response {
	code, message := "2", "unknown"
	switch status {
	case 400:
		code, message = "13", "internal"
	case 401:
		code, message = "16", "unauthenticated"
	case 403:
		code, message = "7", "permission denied"
	case 502, 503, 504:
		code, message = "14", "unavailable"
	}
	return &response{status: status, own: true, fields: append(ownName(p), []field{
		{name: "Date", value: httpDate()},
		{name: "Content-Type", value: "application/grpc"},
		{name: "Content-Length", value: "0"},
		{name: "Grpc-Status", value: code},
		{name: "Grpc-Message", value: message},
	}...)}
}

// fixedResponse is the action of that name. A type without a body is not sent.
func fixedResponse(p *Profile, a *action) (*response, []byte) {
	r := &response{status: a.StatusCode, reason: http.StatusText(a.StatusCode), own: true, length: int64(len(a.MessageBody))}
	r.fields = append(ownName(p), field{name: "Date", value: httpDate()})
	if a.StatusCode == http.StatusNoContent { // RFC 9110 section 15.3.5: a body would be taken for the next response
		r.length = 0
		return r, nil
	}
	if a.MessageBody != "" {
		kind := a.ContentType
		if kind == "" {
			kind = "text/plain"
		}
		r.fields = append(r.fields, field{name: "Content-Type", value: kind + "; charset=utf-8"})
	}
	r.fields = append(r.fields, field{name: "Content-Length", value: strconv.Itoa(len(a.MessageBody))})
	return r, []byte(a.MessageBody)
}

// redirection is a page with a Location.
func redirection(p *Profile, status int, location string) (*response, []byte) {
	r, body := page(p, status)
	r.fields = append(r.fields, field{name: "Location", value: location})
	return r, body
}

func httpDate() string { return time.Now().UTC().Format(http.TimeFormat) }
