package door

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The adapters of these tests are this test binary, told by the environment what to be.
const be = "DOOR_TEST_ADAPTER"

func TestMain(m *testing.M) {
	if what := os.Getenv(be); what != "" {
		os.Exit(adapter(what))
	}
	goleak.VerifyTestMain(m)
}

func adapter(what string) int {
	switch what {
	case "hangs":
		time.Sleep(time.Minute)
	case "floods":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("x", 1<<16)); err != nil {
				return 1
			}
		}
	case "nonsense":
		_, _ = os.Stdout.WriteString("listening on port 8443\n")
	case "twice":
		_, _ = os.Stdout.WriteString(`{"status":"ok"}{"status":"ok"}`)
	case "silent":
	case "crashes":
		_, _ = os.Stderr.WriteString("segmentation fault")
		return 139
	case "cannot":
		return unsupportedStatus
	case "odd":
		_, _ = os.Stdout.WriteString(`{"status":"fine"}`)
	case "dials and crashes":
		_, _ = os.Stdout.WriteString(`{"status":"ok"}` + "\nhalf of it")
		_, _ = os.Stderr.WriteString("segmentation fault")
		return 139
	case "dials and floods":
		_, _ = os.Stdout.WriteString(`{"status":"ok"}` + "\n")
		return adapter("floods")
	case "dials and hangs":
		_, _ = os.Stdout.WriteString(`{"status":"ok"}` + "\n")
		return adapter("hangs")
	case "says ok and fails":
		_, _ = os.Stdout.WriteString(`{"status":"ok"}`)
		return 1
	default: // honest, or a liar
		h := Handler{
			"describe": func(context.Context, Request) (Answer, error) {
				return Answer{Name: "fake", Version: "1", Role: "router", Features: []string{"terminate"}}, nil
			},
			"start": func(_ context.Context, r Request) (Answer, error) {
				var doc Router
				if err := json.Unmarshal(r.Config, &doc); err != nil {
					return Answer{}, err
				}
				if len(doc.Require) > 0 && what == "honest" {
					return Answer{}, &UnsupportedError{"no feature " + doc.Require[0]}
				}
				return Answer{Listen: "127.0.0.1:1"}, nil
			},
			"stop": func(_ context.Context, r Request) (Answer, error) {
				return Answer{}, os.WriteFile(filepath.Join(r.Dir, "stopped"), nil, 0o600)
			},
			"logs": func(context.Context, Request) (Answer, error) { return Answer{}, errors.New("there is no log") },
			"dial": func(_ context.Context, r Request) (Answer, error) {
				return Answer{Class: "direct", ALPN: r.ALPN[0], Then: func(in io.Reader, out io.Writer) error {
					_, err := io.Copy(out, in)
					return err
				}}, nil
			},
		}
		if err := Serve(context.Background(), os.Stdin, os.Stdout, h); err != nil {
			_, _ = os.Stderr.WriteString(err.Error())
			return 1
		}
	}
	return 0
}

func fake(t *testing.T, what string) Adapter {
	t.Helper()
	t.Setenv(be, what)
	return Adapter{Command: []string{os.Args[0]}, Time: 20 * time.Second}
}

func TestAnAdapterIsAskedAndAnswers(t *testing.T) {
	a := fake(t, "honest")
	about, err := a.Do(t.Context(), Request{Verb: "describe"})
	if err != nil || about.Name != "fake" || about.Role != "router" || about.Features[0] != "terminate" {
		t.Errorf("describe: %+v, %v", about, err)
	}
	if _, err := a.Do(t.Context(), Request{Verb: "logs"}); err == nil || !strings.Contains(err.Error(), "there is no log") {
		t.Errorf("an error comes as %v", err)
	}
	var unsupported *UnsupportedError
	if _, err := a.Do(t.Context(), Request{Verb: "reload"}); !errors.As(err, &unsupported) {
		t.Errorf("a verb that it lacks comes as %v", err)
	}
	if err := a.Honest(t.Context(), t.TempDir(), Router{Listen: "127.0.0.1:0"}); err != nil {
		t.Errorf("an honest one is refused: %v", err)
	}
}

func TestALiarIsRefusedAndStopped(t *testing.T) {
	a, dir := fake(t, "liar"), t.TempDir()
	err := a.Honest(t.Context(), dir, Router{})
	if err == nil || !strings.Contains(err.Error(), "no-such-feature") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "stopped")); err != nil {
		t.Error("what it started was not stopped")
	}
}

func TestABadAdapterIsStoppedAndNamed(t *testing.T) {
	for what, want := range map[string]string{
		"hangs":             "did not end within 500ms and was killed",
		"floods":            "printed more than 1048576 bytes",
		"nonsense":          "is no JSON object",
		"twice":             "more than one JSON object",
		"silent":            "is no JSON object: EOF",
		"crashes":           "exit status 139; it said: segmentation fault",
		"odd":               `status "fine"`,
		"says ok and fails": "it said ok, but exit status 1",
	} {
		t.Run(what, func(t *testing.T) {
			a := fake(t, what)
			if what == "hangs" {
				a.Time = 500 * time.Millisecond
			}
			_, err := a.Do(t.Context(), Request{Verb: "start"})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), os.Args[0]) {
				t.Errorf("got %v, want %q and the adapter's name", err, want)
			}
			conn, _, err := a.Dial(t.Context(), Request{})
			switch {
			case conn != nil:
				conn.Close()
				t.Error("it dialled")
			case err == nil || !strings.Contains(err.Error(), os.Args[0]):
				t.Errorf("dialling: %v, want the adapter's name", err)
			}
		})
	}
	var unsupported *UnsupportedError
	if _, err := fake(t, "cannot").Do(t.Context(), Request{Verb: "drain"}); !errors.As(err, &unsupported) {
		t.Errorf("exit status 127 comes as %v", err)
	}
	if _, err := (Adapter{Command: []string{"/no/such/adapter"}}).Do(t.Context(), Request{Verb: "start"}); err == nil {
		t.Error("an adapter that is not there answered")
	}
}

// TestATunnelEndsWithItsAdapter: what comes behind the answer is the tunnel's; its end is that of the adapter, irregular where that failed,
// and Close stops one that does not end, of which no more is read than is asked for.
func TestATunnelEndsWithItsAdapter(t *testing.T) {
	for _, what := range []string{"dials and crashes", "dials and floods", "dials and hangs"} {
		t.Run(what, func(t *testing.T) {
			conn, _, err := fake(t, what).Dial(t.Context(), Request{})
			if err != nil {
				t.Fatal(err)
			}
			process := conn.(*piped).cmd.Process
			switch what {
			case "dials and crashes":
				if got, err := io.ReadAll(conn); !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != "half of it" {
					t.Errorf("%q, %v", got, err)
				}
			case "dials and floods":
				if _, err := io.ReadFull(conn, make([]byte, 1<<20)); err != nil {
					t.Error(err)
				}
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if err := process.Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("it still runs: %v", err)
			}
		})
	}
}

func TestADialIsATunnel(t *testing.T) {
	conn, answer, err := fake(t, "honest").Dial(t.Context(), Request{Address: "127.0.0.1:1", ALPN: []string{"x"}})
	if err != nil || answer.Class != "direct" || answer.ALPN != "x" {
		t.Fatalf("%+v, %v", answer, err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "through and back"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "through and back" {
		t.Errorf("%q, %v", got, err)
	}
}
