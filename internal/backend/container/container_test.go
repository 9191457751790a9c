//go:build docker

package container_test

import (
	"context"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	_ "github.com/tlsroute/tlsroute-bench/internal/backend/container"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

func TestX(t *testing.T) {
	inner, err := certs.NewCA("inner")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := inner.Issue(certs.Leaf{CommonName: "x", DNS: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"postgres", "mysql", "ssh"} {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			r, err := backend.Start(ctx, backend.Container, backend.Spec{Name: kind, Kind: kind, Certificate: cert, CA: inner.PEM(), ClientCA: inner.PEM()})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v %+v %v", r.Info, r.Access, r.Ready)
			l, err := r.Log(ctx)
			t.Logf("%s %v", l, err)
			b := time.Now()
			if err := r.Close(ctx); err != nil {
				t.Fatal(err)
			}
			t.Log(time.Since(b))
		})
	}
}
