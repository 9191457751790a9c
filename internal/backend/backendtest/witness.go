package backendtest

import (
	"context"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

func witnessContract(t *testing.T, r *backend.Running) {
	c, err := net.Dial("tcp", r.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := r.Witness.Accepted()
	told, err := witness.Ask(c, witness.Order{Nonce: "contract", Do: witness.Sink})
	if err != nil {
		t.Fatal(err)
	}
	// What the client was told is in the log by then.
	if diff := cmp.Diff([]witness.Record{told}, r.Witness.Find("contract")); diff != "" || told.Witness != r.Info.Name {
		t.Errorf("witness %s: told and found (-told +found):\n%s", told.Witness, diff)
	}
	if n := r.Witness.Accepted(); n < 1 || n > before+1 {
		t.Errorf("%d accepted, and %d before", n, before)
	}
	if recs := r.Witness.Find("nobody's"); len(recs) > 0 {
		t.Errorf("records of nobody: %+v", recs)
	}
	if _, err := c.Write([]byte("bytes")); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if rec, err := r.Witness.Wait(ctx, "contract", true); err != nil || rec.In != 5 || rec.End != "eof" {
		t.Errorf("record %+v, %v", rec, err)
	}
}
