package reports

import (
	_ "embed"
	"io"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// schema is the JSON Schema of report.json, generated from internal/result ("make gen").
//
//go:embed schema/report.json
var schema []byte

// compareSchema is that of compare.json, from [Compared].
//
//go:embed schema/compare.json
var compareSchema []byte

func init() {
	register(Format{Name: "schema", File: "report.schema.json", Write: func(w io.Writer, _ *result.Run) error {
		_, err := w.Write(schema)
		return err
	}})
}
