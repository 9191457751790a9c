package result

// Exit status of the command line, everywhere (DESIGN.md section 4). It is never a count.
const (
	ExitOK           = 0
	ExitFailed       = 1
	ExitUsage        = 2
	ExitInconclusive = 3
	ExitNothing      = 4
	ExitFlaky        = 5
)
