package lab

import "github.com/tlsroute/tlsroute-bench/internal/backend"

// OwnBackend is a backend of ours in a process of its own.
type OwnBackend = backend.Own
