package lab

// The protocol tests run by any driver, TLSROUTE_TEST_BACKENDS says which.
import _ "github.com/tlsroute/tlsroute-bench/internal/backend/container"
