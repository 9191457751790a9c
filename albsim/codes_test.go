package albsim

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// awsCodes are what an ALB answers of itself: alb.md section 7. The value says why a code has no way here, or is empty.
var awsCodes = map[int]string{
	101: "", // a target's, passed on
	301: "", 302: "",
	400: "", 401: "", 403: "", 405: "", 408: "", 413: "", 414: "", 460: "", 463: "", 464: "", 500: "", 501: "", 502: "", 503: "", 504: "", 505: "", 507: "", 561: "",
}

// TestNoStatusButAWSsComesFromTheBalancer reads the sources: every status that a page, a refusal, a gate or a dial error names is
// one of AWS's, as are those of the profile's knobs, and every one of AWS's that has no reason to be missing is named.
func TestNoStatusButAWSsComesFromTheBalancer(t *testing.T) {
	found := map[int]bool{}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "profile_") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			for _, status := range statuses(n) {
				found[status] = true
				if _, ok := awsCodes[status]; !ok {
					t.Errorf("%s: %d is none of AWS's codes", name, status)
				}
			}
			return true
		})
	}
	for _, k := range awsALB().Knobs() {
		if code, err := strconv.Atoi(k.Value); err == nil && strings.HasSuffix(k.Name, "Status") {
			found[code] = true
			if _, ok := awsCodes[code]; !ok {
				t.Errorf("knob %s: %d is none of AWS's codes", k.Name, code)
			}
		}
	}
	for _, code := range slices.Sorted(maps.Keys(awsCodes)) {
		if why := awsCodes[code]; found[code] == (why != "") && code >= 400 {
			t.Errorf("%d: named in the sources %v, and the list says %q", code, found[code], why)
		}
	}
	for code := range titles {
		if _, ok := awsCodes[code]; !ok {
			t.Errorf("there is a page of %d", code)
		}
	}
}

// statuses are the literal statuses of the balancer's own answers in a node.
func statuses(n ast.Node) (out []int) {
	literal := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.INT {
			if code, err := strconv.Atoi(lit.Value); err == nil && code >= 100 {
				out = append(out, code)
			}
		}
	}
	named := func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.Ident:
			return e.Name
		case *ast.SelectorExpr:
			return e.Sel.Name
		}
		return ""
	}
	switch n := n.(type) {
	case *ast.CallExpr: // x.page(502), f.refuse(req, 408), f.record(req, 400, sent)
		if slices.Contains([]string{"page", "refuse", "record"}, named(n.Fun)) {
			for _, arg := range n.Args {
				literal(arg)
			}
		}
	case *ast.CompositeLit: // &refusal{400, ...}, &dialError{504, ...}
		if slices.Contains([]string{"refusal", "dialError", "authFault"}, named(n.Type)) && len(n.Elts) > 0 {
			literal(n.Elts[0])
		}
	case *ast.AssignStmt: // status := 502, x.rec.status, x.close = 460, true
		for i, left := range n.Lhs {
			if strings.EqualFold(named(left), "status") && i < len(n.Rhs) {
				literal(n.Rhs[i])
			}
		}
	case *ast.FuncDecl: // the gates, and others that return a status for a page
		results := n.Type.Results
		if results == nil || n.Body == nil || !slices.Contains([]string{"methodGate", "forwardedForGate", "upgradeGate", "wafGate", "wholeBody"}, n.Name.Name) {
			return nil
		}
		ast.Inspect(n.Body, func(inner ast.Node) bool {
			if r, ok := inner.(*ast.ReturnStmt); ok && len(r.Results) > 0 {
				literal(r.Results[len(r.Results)-1])
			}
			return true
		})
	}
	return out
}
