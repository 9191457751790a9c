package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
)

const (
	connectTimeout = 10 * time.Second
	// maxLog is how much of a container's log is kept, maxTail how much of it is shown in an error.
	maxLog  = 1 << 20
	maxTail = 2 << 10
	instead = "use --backends local or embedded"
)

// engine is the Docker engine of this machine.
type engine struct{ client *client.Client }

// prepare makes the variables superfluous that testcontainers wants set. Its reaper is an image of its own, which sweep stands in for.
var prepare = sync.OnceFunc(func() {
	const reaper = "TESTCONTAINERS_RYUK_DISABLED"
	if os.Getenv(reaper) == "" {
		_ = os.Setenv(reaper, "true") // it fails for impossible names only
	}
	tclog.SetDefault(tclog.NewNoopLogger())
})

// connect finds the engine as testcontainers does: by DOCKER_HOST, at the usual sockets, by ~/.testcontainers.properties. It keeps
// for the whole process what comes of the first look, so that look is bounded but not interrupted.
func connect(ctx context.Context) (*engine, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	prepare()
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	if err := answersAsAsked(looking); err != nil {
		return nil, noEngine(err)
	}
	c, err := testcontainers.NewDockerClientWithOpts(looking)
	if err != nil {
		return nil, noEngine(err)
	}
	e := &engine{c.Client}
	if host := c.DaemonHost(); !onThisMachine(host) {
		return nil, errors.Join(fmt.Errorf("the Docker engine at %s is on another machine, whose 127.0.0.1 leads nowhere from here: unset DOCKER_HOST, or %s", host, instead), e.close())
	}
	return e, nil
}

// answersAsAsked is nil unless DOCKER_HOST names an engine that does not answer: testcontainers would silently take another.
func answersAsAsked(ctx context.Context) error {
	host := os.Getenv(client.EnvOverrideHost)
	if host == "" {
		return nil
	}
	c, err := client.New(client.FromEnv)
	if err == nil {
		_, err = c.Ping(ctx, client.PingOptions{})
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		return fmt.Errorf("DOCKER_HOST is %s: %w", host, err)
	}
	return nil
}

func noEngine(err error) error {
	what := "start it (systemctl start docker), or set DOCKER_HOST to where it listens"
	if errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), "permission denied") {
		what = "be root or of the group that the engine's socket belongs to (usermod -aG docker, then log in again)"
	}
	return fmt.Errorf("no Docker engine answers: %s, or %s: %w", what, instead, err)
}

// onThisMachine tells whether a port of 127.0.0.1 there is one of 127.0.0.1 here.
func onThisMachine(host string) bool {
	u, err := url.Parse(host)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "unix" || u.Scheme == "npipe" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func (e *engine) close() error { return e.client.Close() }

// onLoopback maps addresses of 127.0.0.1 to the ports of a container.
func onLoopback(ports, at []string) func(*container.HostConfig) {
	return func(h *container.HostConfig) {
		h.PortBindings = network.PortMap{}
		for i, port := range ports {
			on := netip.MustParseAddrPort(at[i])
			h.PortBindings[network.MustParsePort(port)] = []network.PortBinding{{HostIP: on.Addr(), HostPort: strconv.Itoa(int(on.Port()))}}
		}
	}
}

// ended is nil while a container runs, else how it ended.
func (e *engine) ended(ctx context.Context, name string) error {
	i, err := e.client.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return fmt.Errorf("look at container %s: %w", name, err)
	}
	return how(i.Container.State)
}

func how(s *container.State) error {
	switch {
	case s == nil || s.Running:
		return nil
	case s.OOMKilled:
		return errors.New("the container was killed for want of memory")
	case s.Error != "":
		return fmt.Errorf("the container ended with status %d: %s", s.ExitCode, s.Error)
	}
	return fmt.Errorf("the container ended with status %d before it was ready", s.ExitCode)
}

// remove ends a container at once and removes it with its volumes; there is nothing in it to be saved. One that is not there is no error.
func (e *engine) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	for {
		_, err := e.client.ContainerRemove(ctx, name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		// Somebody else is at it: another sweep.
		if !errdefs.IsConflict(err) {
			return fmt.Errorf("remove container %s: %w", name, err)
		}
		select {
		case <-time.After(probePause):
		case <-ctx.Done():
			return fmt.Errorf("remove container %s: %w", name, err)
		}
	}
}

// log is the end of what a container wrote, both streams as they came.
func (e *engine) log(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	stream, err := e.client.ContainerLogs(ctx, name, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "5000"})
	if err != nil {
		return nil, fmt.Errorf("log of container %s: %w", name, err)
	}
	defer func() { _ = stream.Close() }()
	var text bytes.Buffer
	// Cut in the middle of a piece when it is longer than that.
	_, err = stdcopy.StdCopy(&text, &text, io.LimitReader(stream, 8*maxLog))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return text.Bytes()[max(0, text.Len()-maxLog):], err
}

// tail is the end of the log, to be put behind an error.
func (e *engine) tail(ctx context.Context, name string) []byte {
	text, err := e.log(context.WithoutCancel(ctx), name)
	if err != nil {
		return nil
	}
	return bytes.TrimSpace(text[max(0, len(text)-maxTail):])
}

// quiet gives testcontainers' messages to ours.
type quiet struct{ *slog.Logger }

func (q quiet) Printf(format string, v ...any) {
	q.Debug("testcontainers", "says", strings.TrimSpace(fmt.Sprintf(format, v...)))
}
