package lab

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	_ "github.com/tlsroute/tlsroute-bench/internal/backend/container"
)

// startReal starts a topology of the protocol tests on the real servers that driverVariable asks for, and logs what they are.
func startReal(t *testing.T, text string) *Lab {
	t.Helper()
	l := startText(t, text, Options{Backends: cmp.Or(os.Getenv(driverVariable), backend.Local)})
	for _, b := range l.Backends() {
		t.Logf("%s: %s %s by driver %s", b.Name, b.Product, b.Version, b.Driver)
	}
	return l
}

// backendMain is "tlsroute-bench backend".
func backendMain() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var own OwnBackend
	flags := flag.NewFlagSet("backend", flag.ExitOnError)
	for name, value := range map[string]*string{
		"kind": &own.Kind, "name": &own.Name, "listen": &own.Listen, "admin": &own.Admin, "cert": &own.Cert, "key": &own.Key, "client-ca": &own.ClientCA,
	} {
		flags.StringVar(value, name, "", "")
	}
	_ = flags.Parse(os.Args[2:]) // it ends the program
	if err := own.Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
