// Package container starts backends as containers, by testcontainers, which it alone imports. Who wants the driver imports the package
// for its init functions.
//
// A kind is one file: the images that will do, and how one of them is run. The images are taken as their makers document them:
//
//   - postgres: POSTGRES_PASSWORD and POSTGRES_INITDB_ARGS; arguments "postgres -c name=value" to the entry point;
//
//   - mysql: MYSQL_ROOT_PASSWORD, MYSQL_DATABASE, MYSQL_USER and MYSQL_PASSWORD, and the same as MARIADB_…; arguments "--name=value",
//     before which the entry point puts the server;
//
//   - ssh: there is no image that all agree on. Ours, and any other that is named, listens on port 22, makes the account SSHD_USER and lets
//     it in by the keys of SSHD_AUTHORIZED_KEYS (lines of authorized_keys), runs its commands in a shell, and shows the host key that was
//     put at /etc/ssh/keys/host_key before the start (OpenSSH's format, root's, mode 0600), and no other. Arguments go on to sshd.
//
//   - witness, http and kube are our own: this very program, put into an image with nothing in it, or into any other that is named (own).
//
// The image that a scenario names is taken as it is, and pulled when the engine has none of that name. Else the first that the engine has
// of a list (images of each kind), of the version where a scenario asks for one: the official ones, then ours, which "make images" builds
// where no registry can be reached. When it has none of them the official one is pulled.
//
// Only 127.0.0.1 of this machine leads to a container, on a port that is kept for it until its end. A backend is ready when a login and a
// query, or a command, have succeeded through that port. It can be killed, restarted and frozen (server). Its container is removed by Close,
// and when a start fails or is cancelled. What a killed process
// has left is removed by the next one that starts a container (see sweep); nobody else's containers are touched.
package container

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/process"
)

const (
	// readyTimeout bounds the time from a container's start to its first answer: MySQL makes its databases meanwhile.
	readyTimeout = 2 * time.Minute
	probeTimeout = 5 * time.Second
	probePause   = 50 * time.Millisecond
	// createTimeout bounds what the engine does without being interrupted, removeTimeout how long the end may take whatever the caller's patience.
	createTimeout = time.Minute
	removeTimeout = 20 * time.Second
	// portTries is how often a port may be chosen that the engine does not get.
	portTries = 4
)

// Names of accounts, as in every other driver.
const (
	userName     = "tlsroute"
	databaseName = "tlsroute"
)

// kind is one kind of backend as a container.
type kind struct {
	name  string
	ports []string // that the server listens on in the container, such as 5432/tcp; the first is where clients go
	// images are looked for in this order; the first of all is pulled when the engine has none.
	images []string
	// own says that it is this program that is run, which a version does not choose an image of.
	own bool
	// plan fills in r.Access and says how a container is run. dir is on this machine, the backend's own.
	plan func(spec backend.Spec, r *backend.Running, dir string) (plan, error)
	// config says that plan takes spec.Config.
	config bool
}

// plan is how a container is run.
type plan struct {
	env   map[string]string
	files []file
	// account is whose the files are in the container; root's when empty.
	account string
	args    []string
	// entrypoint and user are in the place of the image's own, when set.
	entrypoint []string
	user       string
	// open is told the addresses of the kind's ports; nil for who need not know.
	open func(at []string)
	// probe asks the server there.
	probe func(ctx context.Context, at []string) (about, error)
}

const realServer = "the real server, in a container"

func register(k kind) {
	backend.Register(backend.Driver{Kind: k.name, Name: backend.Container, Start: k.start, Available: k.available, Config: k.config})
}

// available looks only: an image that would have to be pulled is not there.
func (k kind) available(ctx context.Context, spec backend.Spec) error {
	e, err := connect(ctx)
	if err != nil {
		return err
	}
	k = k.of(spec)
	if k.own {
		err = e.fits(ctx, spec.Program)
	}
	if _, lacks := e.find(ctx, k); lacks != nil && k.images[0] != emptyImage {
		err = errors.Join(err, lacks)
	}
	return errors.Join(err, e.close())
}

func (k kind) start(ctx context.Context, spec backend.Spec, r *backend.Running) error {
	e, err := connect(ctx)
	if err != nil {
		return err
	}
	r.OnClose(func(context.Context) error { return e.close() })
	sweepOnce(ctx, e, spec.Logger)
	k = k.of(spec)
	if k.own {
		if err := e.fits(ctx, spec.Program); err != nil {
			return err
		}
	}
	img, err := e.get(ctx, k, spec.Logger)
	if err != nil {
		return err
	}
	r.Info.Image, r.Info.ImageDigest = img.name, img.digest()
	dir, err := os.MkdirTemp(spec.Dir, "tlsroute-bench-"+k.name+"-")
	if err != nil {
		return fmt.Errorf("make private directory: %w", err)
	}
	r.OnClose(func(context.Context) error { return process.RemoveAll(dir) })
	p, err := k.plan(spec, r, dir)
	if err != nil {
		return err
	}
	s := &server{
		engine: e, backend: spec.Name, name: "tlsroute-bench-" + k.name + "-" + strings.ToLower(rand.Text()[:12]), image: img, logger: spec.Logger, probe: p.probe,
	}
	r.OnClose(s.close)
	r.Log = func(ctx context.Context) ([]byte, error) { return e.log(ctx, s.name) }
	if err := s.run(ctx, k, p, spec); err != nil {
		return e.explain(ctx, err, img, nil)
	}
	r.Address, r.Faults = s.at[0], s
	if p.open != nil {
		p.open(s.at)
	}
	says, err := s.await(ctx)
	r.Info.Product, r.Info.Version, r.Info.Note = says.product, says.version, says.note
	return err
}

// run makes a container and starts it, on ports that the engine gets.
func (s *server) run(ctx context.Context, k kind, p plan, spec backend.Spec) error {
	for try := 1; ; try++ {
		err := s.choose(len(k.ports))
		if err != nil {
			return err
		}
		err = s.engine.run(ctx, s.name, s.at, k, s.image, p, spec)
		if err == nil || try == portTries || !portTaken(err) || ctx.Err() != nil {
			return err
		}
		s.logger.Debug("a port was taken meanwhile, others are chosen", "container", s.name)
		if err := s.close(ctx); err != nil {
			return err
		}
	}
}

// run makes a container and starts it. The caller removes it by its name, whatever came of this.
func (e *engine) run(ctx context.Context, name string, at []string, k kind, img image, p plan, spec backend.Spec) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	request := testcontainers.GenericContainerRequest{
		Logger: quiet{spec.Logger},
		ContainerRequest: testcontainers.ContainerRequest{
			Image: img.name, Name: name, Env: p.env, Cmd: p.args, Labels: labels(spec.Name), ExposedPorts: k.ports,
			Entrypoint: p.entrypoint, HostConfigModifier: onLoopback(k.ports, at),
			ConfigModifier: func(c *container.Config) { c.User = p.user },
		},
	}
	if p.account != "" && len(p.files) > 0 {
		request.Entrypoint = append([]string{"sh", "-c", own(p.account), "sh"}, img.Config.Entrypoint...)
	}
	// An engine goes on making what nobody waits for any more, so this is not interrupted: what has a name can be removed.
	making, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), createTimeout, fmt.Errorf("the engine has not made a container after %v", createTimeout))
	defer cancel()
	c, err := testcontainers.GenericContainer(making, request)
	if err != nil {
		return fmt.Errorf("make a container of %s: %w", img.name, err)
	}
	if err := e.put(making, name, p.files); err != nil {
		return err
	}
	return c.Start(ctx)
}

// await asks until the server answers. It gives up when the container ends, when ctx does, or after readyTimeout.
func (s *server) await(ctx context.Context) (says about, err error) {
	e, name, img := s.engine, s.name, s.image
	all, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready after %v", readyTimeout))
	defer cancel()
	for {
		once, cancel := context.WithTimeout(all, probeTimeout)
		says, err = s.probe(once, s.at)
		cancel()
		if err == nil {
			return says, nil
		}
		if all.Err() == nil {
			if ended := e.ended(all, name); ended != nil {
				return about{}, e.explain(ctx, fmt.Errorf("%s: %w", img.name, ended), img, e.tail(ctx, name))
			}
		}
		pause := time.NewTimer(probePause)
		select {
		case <-pause.C:
		case <-all.Done():
			pause.Stop()
			return about{}, e.explain(ctx, fmt.Errorf("%s: %w; the last try: %w", img.name, context.Cause(all), err), img, e.tail(ctx, name))
		}
	}
}
