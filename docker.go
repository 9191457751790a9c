//go:build !nodocker

package main

import _ "github.com/tlsroute/tlsroute-bench/internal/backend/container" // for its drivers
