package backend

import "strings"

// The embedded databases know a fixed handful of statements. A statement is cut into words, its literals and parameters
// are taken out, and what remains is looked up whole: no parser, nothing half understood.

// sqlWord is one word of a statement.
type sqlWord struct {
	kind byte   // 'w' word or operator, in lower case; 'n' integer; 's' string; 'p' parameter $n or ?
	text string // for a string its value, for a parameter the digits after $
	at   int    // where it begins
}

// sqlWords cuts a statement up; comments and white space fall away. False: a literal without an end. With backslash,
// strings know MySQL's escapes, and " is a string too.
func sqlWords(q string, backslash bool) ([]sqlWord, bool) {
	var words []sqlWord
	for i := 0; i < len(q); {
		c := q[i]
		begin := i
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i++
		case c == '-' && strings.HasPrefix(q[i:], "--"), c == '#' && backslash:
			for i < len(q) && q[i] != '\n' {
				i++
			}
		case strings.HasPrefix(q[i:], "/*"):
			end := strings.Index(q[i+2:], "*/")
			if end < 0 {
				return nil, false
			}
			i += end + 4
		case c == '\'' || c == '"' && backslash:
			text, n, ok := sqlString(q[i:], backslash)
			if !ok {
				return nil, false
			}
			i += n
			words = append(words, sqlWord{'s', text, begin})
		case c == '$' || c == '?':
			for i++; i < len(q) && isDigit(q[i]); i++ {
			}
			words = append(words, sqlWord{'p', q[begin+1 : i], begin})
		case isDigit(c):
			for ; i < len(q) && isDigit(q[i]); i++ {
			}
			words = append(words, sqlWord{'n', q[begin:i], begin})
		case isLetter(c):
			for ; i < len(q) && (isLetter(q[i]) || isDigit(q[i])); i++ {
			}
			words = append(words, sqlWord{'w', strings.ToLower(q[begin:i]), begin})
		case strings.HasPrefix(q[i:], "::"), strings.HasPrefix(q[i:], "@@"):
			i += 2
			words = append(words, sqlWord{'w', q[begin:i], begin})
		default:
			i++
			words = append(words, sqlWord{'w', q[begin:i], begin})
		}
	}
	return joinSigns(words), true
}

// joinSigns makes one integer of a minus and the digits behind it where no operand stands before them, parentheses
// around it included: pgx writes a negative argument as (-1).
func joinSigns(words []sqlWord) []sqlWord {
	var out []sqlWord
	for i := 0; i < len(words); i++ {
		w := words[i]
		if w.kind == 'w' && w.text == "-" && i+1 < len(words) && words[i+1].kind == 'n' {
			if len(out) == 0 || isKeywordBefore(out[len(out)-1]) {
				w = sqlWord{'n', "-" + words[i+1].text, w.at}
				i++
				if n := len(out); n > 1 && out[n-1].text == "(" && isKeywordBefore(out[n-2]) && i+1 < len(words) && words[i+1].text == ")" {
					out = out[:n-1]
					i++
				}
			}
		}
		out = append(out, w)
	}
	return out
}

// isKeywordBefore tells a sign from a difference (n-1), and a parenthesis around a number from that of a call: f(-1).
func isKeywordBefore(w sqlWord) bool {
	return w.kind == 'w' && (w.text == "select" || w.text == "," || w.text == "(" || w.text == "<" || w.text == "+")
}

// shape joins words to the form in which statements are looked up, with N, S and P for integers, strings and parameters,
// and returns those in their order.
func shape(words []sqlWord) (string, []sqlWord) {
	var b strings.Builder
	var args []sqlWord
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		if w.kind == 'w' {
			b.WriteString(w.text)
			continue
		}
		b.WriteByte(w.kind - 'a' + 'A')
		args = append(args, w)
	}
	return b.String(), args
}

// sqlString reads a string literal at the start of q and returns its value and its length in q.
func sqlString(q string, backslash bool) (string, int, bool) {
	var b strings.Builder
	quote := q[0]
	for i := 1; i < len(q); i++ {
		switch {
		case q[i] == quote && i+1 < len(q) && q[i+1] == quote:
			i++
			b.WriteByte(quote)
		case q[i] == quote:
			return b.String(), i + 1, true
		case q[i] == '\\' && backslash && i+1 < len(q):
			i++
			if at := strings.IndexByte("0bnrtZ", q[i]); at >= 0 {
				b.WriteByte("\x00\b\n\r\t\x1a"[at])
			} else {
				b.WriteByte(q[i])
			}
		default:
			b.WriteByte(q[i])
		}
	}
	return "", 0, false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '`' || c >= 0x80
}
