package albsim

// HeaderKnobs are about requests, answers and their fields.
type HeaderKnobs struct {
	// AddedFields are the fields that a target gets from the balancer, in this order in front of the client's own. Host
	// stands for the place of Host, which is the first where the list does not have it. What is not added goes on as the
	// client sent it.
	AddedFields []string `words:"X-Forwarded-For,X-Forwarded-Proto,X-Forwarded-Port,X-Forwarded-Host,X-Real-Ip,Host,X-Amzn-Trace-Id,Via,Forwarded"`
	// HostField is what a target gets as Host: aws (by AWS's preserve_host_header) or keep, as the client sent it.
	HostField string `words:"aws,keep"`
	// FieldNames is the spelling of the names that a target gets: keep, lower or canonical (Like-This).
	FieldNames string `words:"keep,lower,canonical"`
	// DropFields are fields of requests that do not go on. KeepOnlyFields, where not empty, are the only ones of the
	// client's that do. Host, Connection, Upgrade and what frames the body are not meant by either.
	DropFields, KeepOnlyFields []string
	// Informational is what becomes of a target's 102 and 103: drop or pass (HTTP/1.1 front only).
	Informational string `words:"drop,pass"`
	// ForgedMTLSHeaders is what becomes of X-Amzn-Mtls-* and X-Amzn-Tls-* from the client: strip, replace (gone where the
	// balancer has a field of that name to say), append (what the balancer has to say stands behind it in one field) or pass
	// (in a field of its own behind the balancer's).
	ForgedMTLSHeaders string `words:"strip,replace,append,pass"`
	// H2ForbiddenFields is what an h2 request gets that has Connection, Upgrade or another field of a connection, which
	// HTTP/2 forbids: 400, strip (it goes on without them) or reset (RST_STREAM with PROTOCOL_ERROR, 400 in the log).
	H2ForbiddenFields string `words:"400,strip,reset"`
	// ConnectStatus and TraceStatus answer the methods CONNECT and TRACE; 0 passes them on like any other.
	ConnectStatus, TraceStatus int
	// ServerHeader names the balancer on the pages it writes itself; empty for no such field.
	ServerHeader string
	// PageStyle is how they look: aws, nginx or haproxy (HTML of that product), text (the reason in plain text) or empty.
	PageStyle string `words:"aws,nginx,haproxy,text,empty"`
}
