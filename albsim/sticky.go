package albsim

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Stickiness follows alb.md section 9 and its source STK. What goes over the wire has the look of what ALBs have been seen to
// send: 96 bytes in base64, Expires and Path, the CORS twin with the same value, four shards of AWSALBAPP of which the unused
// say _remove_, for which the documents have no word.

// cookieLife is the Expires of every stickiness cookie, whatever its group's duration: seven days. It is a date for the
// client, not a timer, and TimeScale does not touch it.
const cookieLife = 7 * 24 * time.Hour

// targetID names a target in its group, or a group, inside a cookie.
type targetID [16]byte

func newTargetID(name string) targetID {
	sum := sha256.Sum256([]byte(name))
	return targetID(sum[:])
}

// jar makes cookie values that only itself can read.
type jar struct{ aead cipher.AEAD }

func newJar() jar {
	var key [32]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has the right length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the right block
	}
	return jar{aead}
}

// sealed is what a cookie's value holds: when it was made, whom it names, and zeros up to the size seen.
const sealed = 96 - 12 - 16

// value makes a cookie's value; it can be read for the same purpose only.
func (j jar) value(purpose string, id targetID, now time.Time) string {
	var plain [sealed]byte
	binary.BigEndian.PutUint64(plain[:], uint64(now.UnixNano()))
	copy(plain[8:], id[:])
	return base64.StdEncoding.EncodeToString(j.seal(purpose, plain[:]))
}

// seal makes bytes that open gives back for the same purpose only.
func (j jar) seal(purpose string, plain []byte) []byte {
	nonce := make([]byte, j.aead.NonceSize(), j.aead.NonceSize()+len(plain)+j.aead.Overhead())
	rand.Read(nonce)
	return j.aead.Seal(nonce, nonce, plain, []byte(purpose))
}

func (j jar) open(purpose string, raw []byte) (plain []byte, ok bool) {
	if len(raw) < j.aead.NonceSize() {
		return nil, false
	}
	plain, err := j.aead.Open(nil, raw[:j.aead.NonceSize()], raw[j.aead.NonceSize():], []byte(purpose))
	return plain, err == nil
}

// read is false for a value that was not made here for that purpose, or longer ago than life. An URL-encoded one is the former:
// AWS does not read them either.
func (j jar) read(purpose, value string, life time.Duration, now time.Time) (id targetID, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return id, false
	}
	plain, ok := j.open(purpose, raw)
	if !ok || len(plain) != sealed {
		return id, false
	}
	made := time.Unix(0, int64(binary.BigEndian.Uint64(plain)))
	return targetID(plain[8:]), now.Sub(made) < life
}

// named is the first of the request's cookies of these names that can be read.
func (j jar) named(req *request, purpose string, life time.Duration, names ...string) (targetID, bool) {
	for _, name := range names {
		for _, v := range cookies(req.fields, name) {
			if id, ok := j.read(purpose, v, life, time.Now()); ok {
				return id, true
			}
		}
	}
	return targetID{}, false
}

// cookies are the values of a request's cookies of that name.
func cookies(fields []field, name string) (values []string) {
	for _, f := range fields {
		if !strings.EqualFold(f.name, "Cookie") {
			continue
		}
		for pair := range strings.SplitSeq(f.value, ";") {
			if n, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && n == name {
				values = append(values, v)
			}
		}
	}
	return values
}

// stuck is the routable target that the client's cookie names; mu is held. A target that may not be sent requests any more, and
// a cookie that cannot be read or is too old, leave the choice to the algorithm: ALB-TG-03.
func (g *group) stuck(q pickRequest) *target {
	if !g.set.sticky || q.http == nil {
		return nil
	}
	var id targetID
	var ok bool
	if g.set.stickyType == "lb_cookie" {
		id, ok = g.s.jar.named(q.http, "AWSALB "+g.name, g.s.scaled(g.set.lbCookieLife), "AWSALB", "AWSALBCORS")
	} else if len(cookies(q.http.fields, g.set.appCookie)) > 0 { // it takes both cookies
		id, ok = g.s.jar.named(q.http, "AWSALBAPP "+g.name, g.s.scaled(g.set.appLife), "AWSALBAPP-0")
	}
	if ok {
		for _, t := range g.routable {
			if t.id == id {
				return t
			}
		}
	}
	g.count.nonSticky.Add(1)
	return nil
}

// planStickiness reads what a forward action says about staying with a group.
func (a *action) planStickiness(path string, faults *Faults) {
	c := a.TargetGroupStickiness
	path += ".target_group_stickiness_config"
	if c.Enabled && (c.DurationSeconds < 1 || c.DurationSeconds > 604800) {
		faults.add(path+".duration_seconds", "%d: must be from 1 to 604800", c.DurationSeconds)
	}
	if c.Enabled {
		a.groupLife = time.Duration(c.DurationSeconds) * time.Second
		return
	}
	for _, s := range a.groups {
		if len(a.groups) > 1 && s.group.set.sticky {
			faults.add(path+".enabled", "a forward to several target groups needs it, since %s has stickiness", s.group.name)
			return
		}
	}
}

// group is where a forward action leads: the group that the client's cookie names if the action has it, whatever its weight,
// else one drawn by weight (ALB-RULE-05).
func (x *exchange) group(a *action) *group {
	if a.groupLife == 0 {
		return a.chooseGroup()
	}
	x.groupStays = true
	if id, ok := x.s.jar.named(x.req, "AWSALBTG", x.s.scaled(a.groupLife), "AWSALBTG", "AWSALBTGCORS"); ok {
		for _, s := range a.groups {
			if newTargetID(s.group.name) == id {
				return s.group
			}
		}
	}
	return a.chooseGroup()
}

// stick adds the load balancer's cookies to a target's final response, made anew each time: their expiry counts from the last
// request. Whoever passes a response on calls it before.
func (x *exchange) stick(r *response) {
	r.fields = append(r.fields, x.cookies...)
	g := x.lease.group
	if !x.groupStays && !g.set.sticky {
		return
	}
	now := time.Now()
	if x.groupStays {
		v := x.s.jar.value("AWSALBTG", newTargetID(g.name), now)
		r.fields = append(r.fields, cookie("AWSALBTG", v, now, false), cookie("AWSALBTGCORS", v, now, true))
	}
	switch {
	case !g.set.sticky:
	case g.set.stickyType == "lb_cookie":
		v := x.s.jar.value("AWSALB "+g.name, x.lease.target.id, now)
		r.fields = append(r.fields, cookie("AWSALB", v, now, false), cookie("AWSALBCORS", v, now, true))
	default:
		v := removed
		if len(cookies(x.req.fields, g.set.appCookie)) > 0 || setsCookie(r.fields, g.set.appCookie) {
			v = x.s.jar.value("AWSALBAPP "+g.name, x.lease.target.id, now)
		}
		agent, _ := x.req.get("User-Agent")
		for i := range 4 {
			r.fields = append(r.fields, cookie("AWSALBAPP-"+strconv.Itoa(i), v, now, chromium80(agent)))
			v = removed
		}
	}
}

// removed stands in a shard of AWSALBAPP that holds nothing.
const removed = "_remove_"

func cookie(name, value string, now time.Time, crossSite bool) field {
	v := name + "=" + value + "; Expires=" + now.Add(cookieLife).UTC().Format(http.TimeFormat) + "; Path=/"
	if crossSite {
		v += "; SameSite=None; Secure"
	}
	return field{name: "Set-Cookie", value: v}
}

func setsCookie(fields []field, name string) bool {
	for _, f := range fields {
		if n, _, ok := strings.Cut(f.value, "="); ok && strings.EqualFold(f.name, "Set-Cookie") && strings.TrimSpace(n) == name {
			return true
		}
	}
	return false
}

// chromium80 tells whether a browser is the one for which AWS documents SameSite=None on AWSALBAPP.
func chromium80(agent string) bool {
	for _, word := range []string{"Chrome/", "Chromium/"} {
		if _, rest, ok := strings.Cut(agent, word); ok {
			major, _, _ := strings.Cut(rest, ".")
			n, err := strconv.Atoi(major)
			return err == nil && n >= 80
		}
	}
	return false
}
