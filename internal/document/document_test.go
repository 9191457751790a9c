package document_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/document"
)

const schema = `{
  "type": "object", "additionalProperties": false, "required": ["name"],
  "properties": {
    "name": {"type": "string"},
    "mode": {"type": "string", "enum": ["terminate", "passthrough"]},
    "attributes": {"type": "object"},
    "items": {"type": "array", "items": {"type": "object", "additionalProperties": false,
      "properties": {"name": {"type": "string"}, "rate": {"type": "number"}}}}
  }
}`

type doc struct {
	Name       string         `json:"name"`
	Mode       string         `json:"mode"`
	Attributes map[string]any `json:"attributes"`
	Items      []struct {
		Name string  `json:"name"`
		Rate float64 `json:"rate"`
	} `json:"items"`
}

func TestFaultsAreReportedAllAtOnceWithTheirPlaces(t *testing.T) {
	text := "name: 5\nmode: terminat\nitmes: []\nitems:\n  - {name: a, rate: fast}\n"
	var d doc
	_, err := document.Parse("x.yaml", []byte(text), []byte(schema), &d)
	var faults *document.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want faults", err)
	}
	want := []string{
		"x.yaml:1:7: name must be string, not number",
		`x.yaml:2:7: mode is "terminat", but must be one of terminate, passthrough; did you mean "terminate"?`,
		`x.yaml:3:1: unknown field "itmes"; did you mean "items"?`,
		"x.yaml:5:21: items[0].rate must be number, not string",
	}
	if len(faults.List) != len(want) {
		t.Fatalf("got %d faults:\n%v", len(faults.List), err)
	}
	for i, w := range want {
		got, _, _ := strings.Cut(faults.List[i].String(), "\n")
		if got != w {
			t.Errorf("fault %d:\n got %s\nwant %s", i, got, w)
		}
	}
	if !strings.Contains(err.Error(), "  mode: terminat\n        ^") {
		t.Errorf("no caret under the column:\n%v", err)
	}
}

func TestSyntaxAndStructureFaults(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not yaml":      {"name: [a\n", "x.yaml:"},
		"empty":         {"", "the document is empty"},
		"twice":         {"name: a\nname: b\n", `"name" is given twice`},
		"alias":         {"name: &a x\nmode: *a\n", "aliases are not supported"},
		"missing field": {"mode: terminate\n", `missing field "name"`},
		"a list":        {"- name\n", "the document must be object, not array"},
		"null":          {"~\n", "x.yaml:1:1: the document must be object, not null"},
		"scalar":        {"name\n", "the document must be object, not string"},
		"two documents": {"name: a\n---\nname: b\n", "x.yaml:2:1: a second document begins here"},
		"a key of list": {"? [a]\n: b\nname: a\n", "x.yaml:1:3: a field name must be a word"},
		"merge":         {"<<: {mode: terminate}\nname: a\n", `x.yaml:1:1: unknown field "<<"`},
		"infinity":      {"name: a\nattributes: {x: .inf}\n", "x.yaml:2:17: .inf is not a number"},
		"wrong tag":     {"name: !!int abc\n", `x.yaml:1:7: "abc" is not of type !!int`},
		"unknown alias": {"name: *b\n", "x.yaml:1:7: unknown anchor"},
		"not UTF-8":     {"name: a\nmode: \xff\n", "x.yaml:2:7: the document is not text in UTF-8"},
		"escape":        {"name: a\nmode: \"\x1b[31m\"\n", "x.yaml:2:8: control character U+001B"},
		"line of CR":    {"name: a\rmode: x\r", "x.yaml:2:7: mode is"},
		"BOM":           {"\ufeffname: 5\n", "x.yaml:1:7: name must be string, not number\n  name: 5\n        ^"},
		"too deep":      {"name: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), "nested too deeply"},
	} {
		t.Run(name, func(t *testing.T) {
			var d doc
			_, err := document.Parse("x.yaml", []byte(c.text), []byte(schema), &d)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAnchorsTagsAndTheEndMarkAreTaken(t *testing.T) {
	for _, text := range []string{"name: &x a\n", "name: !!str a\n", "--- {name: a}\n...\n", "name: a\n# end"} {
		var d doc
		if _, err := document.Parse("x.yaml", []byte(text), []byte(schema), &d); err != nil || d.Name != "a" {
			t.Errorf("%q: %+v, %v", text, d, err)
		}
	}
}

func TestOfALongLineOnlyThePlaceIsShown(t *testing.T) {
	for name, c := range map[string]struct {
		before, after  int // characters around the fault
		left, right    string
		caret, columns int
	}{
		"short":     {10, 10, `{"name": 5, "attributes": {"é`, "}}", 9, 0},
		"behind":    {10, 5000, `{"name": 5,`, "…", 9, 161},
		"before":    {5000, 1, "…é", "}", 0, 161},
		"both ends": {5000, 5000, "…é", "é…", 81, 162},
	} {
		t.Run(name, func(t *testing.T) {
			fill := func(n int) string { return `"attributes": {"` + strings.Repeat("é", n) + `": 1}` }
			text := `{` + fill(c.before) + `, "name": 5}`
			switch name {
			case "short", "behind":
				text = `{"name": 5, ` + fill(c.after) + `}`
			case "both ends":
				text = `{"attributes": {"` + strings.Repeat("é", c.before) + `": 1}, "name": 5, "items": [{"name": "` + strings.Repeat("é", c.after) + `"}]}`
			}
			var d doc
			_, err := document.Parse("x.json", []byte(text), []byte(schema), &d)
			if err == nil {
				t.Fatal("no fault")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != 3 {
				t.Fatalf("%d lines:\n%v", len(lines), err)
			}
			shown, caret := []rune(lines[1]), strings.IndexRune(lines[2], '^')
			if !strings.HasPrefix(lines[1], "  "+c.left) || !strings.HasSuffix(lines[1], c.right) {
				t.Errorf("shown: %s", lines[1])
			}
			if c.columns > 0 && len(shown) != 2+c.columns || c.caret > 0 && caret != 2+c.caret {
				t.Errorf("%d columns, caret at %d", len(shown)-2, caret-2)
			}
			if shown[caret] != '5' {
				t.Errorf("the caret is under %q", shown[caret])
			}
		})
	}
}

func TestOverrides(t *testing.T) {
	text := "name: a\nattributes: {idle.seconds: 60}\nitems: [{name: echo, rate: 1}, {name: ssh, rate: 2}]\n"
	var d doc
	_, err := document.Parse("x.yaml", []byte(text), []byte(schema), &d,
		document.Override{Key: "attributes.idle.seconds", Value: "2"},
		document.Override{Key: "items.ssh.rate", Value: "7.5"},
		document.Override{Key: "items.0.rate", Value: "3"},
		document.Override{Key: "mode", Value: "passthrough"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Items[1].Rate != 7.5 || d.Items[0].Rate != 3 || d.Mode != "passthrough" || d.Attributes["idle.seconds"] != float64(2) {
		t.Errorf("got %+v", d)
	}
	_, err = document.Parse("x.yaml", []byte(text), []byte(schema), &d, document.Override{Key: "itms.x", Value: "1"})
	if err == nil || !strings.Contains(err.Error(), `unknown field "itms"`) {
		t.Errorf("an unknown key was taken: %v", err)
	}
	if _, err := document.ParseOverride("bench.pairs"); err == nil {
		t.Error("a word without = was taken")
	}
}

func TestFaultsFoundLaterPointAtTheText(t *testing.T) {
	var d doc
	parsed, err := document.Parse("x.yaml", []byte("name: a\nitems: [{name: b}]\n"), []byte(schema), &d)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Faultf([]string{"items", "0", "name"}, "no backend %q", "b")
	if err := parsed.Err(); err == nil || !strings.HasPrefix(err.Error(), `x.yaml:2:16: no backend "b"`) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsSoundIsDecodedBesideFaults(t *testing.T) {
	var d doc
	text := "mode: wrong\nextra: 1\nitems: [{name: a, rate: 3}, {name: 7, rate: 4}, 5]\n"
	parsed, err := document.Parse("x.yaml", []byte(text), []byte(schema), &d)
	if parsed == nil || err == nil {
		t.Fatalf("document %v, error %v", parsed, err)
	}
	if d.Mode != "" || len(d.Items) != 3 || d.Items[0].Name != "a" || d.Items[1].Name != "" || d.Items[1].Rate != 4 {
		t.Errorf("got %+v", d)
	}
	parsed.Faultf([]string{"items", "1"}, "one more")
	if got := strings.Count(parsed.Err().Error(), "x.yaml:"); got != 6 {
		t.Errorf("%d faults, want 6:\n%v", got, parsed.Err())
	}
}

func FuzzParse(f *testing.F) {
	f.Add("name: a\nitems: [{name: b, rate: 1}]\n")
	f.Add("{\"name\": \"a\"}")
	for _, text := range []string{
		"? [a]\n: b\n", "name: &x a\nmode: *x\n", "a: &a [*a]\n", "<<: {name: a}\n", "--- a\n--- b\n", "name: !!int x\n", "name: !!binary aGk=\n", "~\n", "- a\n",
		"name: .nan\n", "name: |\n  a\n\n  b\n", "\ufeffname: a\r\nmode: b\rx: \u2028y\n", "name: \xff", "name: \"\\ud800\"", strings.Repeat("[", 200), "name: " + strings.Repeat("x", 3000) + "\nmode: x",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d doc
		parsed, err := document.Parse("x.yaml", []byte(text), []byte(schema), &d)
		if parsed == nil && err == nil {
			t.Fatalf("document %v, error %v", parsed, err)
		}
		var faults *document.Faults
		if err != nil && !errors.As(err, &faults) {
			t.Fatalf("an error without a place: %v", err)
		}
	})
}
