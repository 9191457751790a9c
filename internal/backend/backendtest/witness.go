package backendtest

import (
	"net"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

func witnessContract(t *testing.T, r *backend.Running) {
	c, err := net.Dial("tcp", r.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := witness.Ask(c, witness.Order{Nonce: "contract", Do: witness.Close}); err != nil {
		t.Fatal(err)
	}
	if rec, err := r.Witness.Wait(t.Context(), "contract", false); err != nil || rec.Witness != r.Info.Name {
		t.Fatalf("record %+v, %v", rec, err)
	}
}
