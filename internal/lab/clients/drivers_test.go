package clients

import _ "github.com/tlsroute/tlsroute-bench/internal/backend/container" // a driver that backendsVariable may name
