package albsim

import (
	"net/http"
	"strconv"
	"time"
)

// titles are the reason phrases of the balancer's own pages. Those of 502 and 503 were seen on the wire, those of 301,
// 400, 403 and 504 follow from the observed length 92+2*len(title); the others are assumed to be of the same family.
// 463 and 464 are AWS's own numbers: no phrase, no body (assumed).
var titles = map[int]string{
	301: "Moved Permanently",
	302: "Found",
	400: "Bad Request",
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
}

// page is what the balancer answers of itself: alb.md section 7, ALB-ERR-01.
func page(server string, status int) (*response, []byte) {
	title := titles[status]
	r := &response{status: status, reason: title, own: true}
	r.fields = append(r.fields, field{name: "Server", value: server}, field{name: "Date", value: httpDate()})
	var body []byte
	if title != "" {
		title = strconv.Itoa(status) + " " + title
		body = []byte("<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n" +
			"<center><h1>" + title + "</h1></center>\r\n</body>\r\n</html>\r\n")
		r.fields = append(r.fields, field{name: "Content-Type", value: "text/html"})
	}
	r.fields = append(r.fields, field{name: "Content-Length", value: strconv.Itoa(len(body))})
	r.length = int64(len(body))
	return r, body
}

// grpcPage is what a gRPC client gets in its place, a head that ends the stream: ALB-ERR-09. What was seen is 14 for 502; the
// others are what gRPC itself reads from an HTTP status (grpc/grpc doc/http-grpc-status-mapping.md).
func grpcPage(server string, status int) *response {
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
	return &response{status: status, own: true, fields: []field{
		{name: "Server", value: server},
		{name: "Date", value: httpDate()},
		{name: "Content-Type", value: "application/grpc"},
		{name: "Content-Length", value: "0"},
		{name: "Grpc-Status", value: code},
		{name: "Grpc-Message", value: message},
	}}
}

// fixedResponse is the action of that name. A type without a body is not sent.
func fixedResponse(server string, a *action) (*response, []byte) {
	r := &response{status: a.StatusCode, reason: http.StatusText(a.StatusCode), own: true, length: int64(len(a.MessageBody))}
	r.fields = append(r.fields, field{name: "Server", value: server}, field{name: "Date", value: httpDate()})
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
func redirection(server string, status int, location string) (*response, []byte) {
	r, body := page(server, status)
	r.fields = append(r.fields, field{name: "Location", value: location})
	return r, body
}

func httpDate() string { return time.Now().UTC().Format(http.TimeFormat) }
