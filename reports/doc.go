// Package reports turns a stored result into files and text that people and machines act on.
//
// Each format is one file here and one entry in a registry: a pure function of a [result.Run] that writes to an io.Writer
// and returns the first write error. A format never measures, never reads a clock and never looks at the network or the
// disk, so the same result always gives the same bytes. Durations come in as nanoseconds (DESIGN.md section 6) and are
// shown with the unit that fits. Nothing is trusted: names, details and error texts come from the implementation under
// test and are escaped for the format they go into.
//
// The package imports the standard library, internal/result and internal/near only.
package reports
