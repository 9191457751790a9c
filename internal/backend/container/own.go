package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/moby/moby/client"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

// emptyImage has nothing in it. No registry has it: it is made in a moment.
const emptyImage = ours + "empty:1"

// Our own kinds are the program that this is, as one of its backends ("tlsroute-bench backend", see backend.Own), as nobody in particular.
const (
	ownPort   = "8000"
	adminPort = "8001"
	nobody    = "65534:65534"
)

func init() {
	for _, name := range []string{backend.Witness, backend.HTTP, backend.Kube} {
		register(kind{name: name, ports: []string{ownPort + "/tcp", adminPort + "/tcp"}, own: true, images: []string{emptyImage}, plan: ownPlan})
	}
}

func ownPlan(spec backend.Spec, r *backend.Running, dir string) (plan, error) {
	if spec.KeyLog != nil {
		return plan{}, errors.New("the TLS secrets of a witness in a container stay there: use driver: embedded")
	}
	files, err := programFiles(spec.Program)
	if err != nil {
		return plan{}, err
	}
	args := []string{"backend", "--kind", spec.Kind, "--name", spec.Name, "--listen", "0.0.0.0:" + ownPort, "--admin", "0.0.0.0:" + adminPort}
	if spec.Kind == backend.Witness {
		spec.CA = nil // its clients verify nothing
	}
	if spec.Kind != backend.HTTP {
		secure, err := tlsFiles(spec, r, dir)
		if err != nil {
			return plan{}, err
		}
		flags := map[string]string{certFile: "--cert", keyFile: "--key", clientCAFile: "--client-ca"}
		for _, f := range secure {
			args = append(args, flags[f.name], f.path())
		}
		files = append(files, secure...)
	}
	return plan{
		env: map[string]string{"LD_LIBRARY_PATH": libraryDir}, files: files, args: args, entrypoint: []string{programPath}, user: nobody,
		open: func(at []string) {
			if spec.Kind == backend.Witness {
				r.Witness = backend.NewOwnPort(at[1], spec.Logger)
			}
		},
		probe: func(ctx context.Context, at []string) (about, error) {
			info, err := backend.NewOwnPort(at[1], spec.Logger).Probe(ctx, at[0])
			if err == nil && (info.Kind != spec.Kind || info.Name != spec.Name) {
				err = fmt.Errorf("backend %s of kind %s answers", info.Name, info.Kind)
			}
			return about{info.Product, info.Version, info.Note + ". This very program runs it in the container"}, err
		},
	}, nil
}

// makingEmpty is held while it is made: what is made twice is left without a name.
var makingEmpty sync.Mutex

// makeEmpty makes the image with nothing in it, where nobody has meanwhile.
func (e *engine) makeEmpty(ctx context.Context, k kind) (image, error) {
	makingEmpty.Lock()
	defer makingEmpty.Unlock()
	if img, err := e.find(ctx, k); err == nil {
		return img, nil
	}
	making, cancel := context.WithTimeoutCause(ctx, createTimeout, fmt.Errorf("the engine has not made an image after %v", createTimeout))
	defer cancel()
	var nothing bytes.Buffer
	if err := tar.NewWriter(&nothing).Close(); err != nil {
		return image{}, err
	}
	said, err := e.client.ImageImport(making, client.ImageImportSource{Source: &nothing, SourceName: "-"}, emptyImage, client.ImageImportOptions{})
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(said, maxLog))
		err = errors.Join(err, said.Close())
	}
	if err != nil {
		return image{}, e.explain(ctx, fmt.Errorf("make image %s: %w: name an image that is here, or use --backends embedded", emptyImage, err), image{}, nil)
	}
	return e.find(ctx, k)
}
