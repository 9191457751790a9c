package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

// pullTimeout bounds the pull of an image: half a gigabyte over a slow line.
const pullTimeout = 5 * time.Minute

// image is one that the engine has.
type image struct {
	name string // as it was asked for
	client.ImageInspectResult
}

// digest is the registry's of exactly this image, else the engine's own id.
func (i image) digest() string {
	repository, _, _ := strings.Cut(i.name, "@")
	if slash, colon := strings.LastIndexByte(repository, '/'), strings.LastIndexByte(repository, ':'); colon > slash {
		repository = repository[:colon]
	}
	fallback := i.ID
	for _, d := range i.RepoDigests {
		of, digest, ok := strings.Cut(d, "@")
		if ok && of == repository {
			return digest
		}
		if ok && fallback == i.ID {
			fallback = digest // the same image from somewhere else
		}
	}
	return fallback
}

// of is a kind with the images that will do for spec: the one that it names, or those of the version that it asks for.
func (k kind) of(spec backend.Spec) kind {
	switch {
	case spec.Image != "":
		k.images = []string{spec.Image}
	case spec.Version != "" && !k.own:
		var images []string
		for _, name := range k.images {
			repository, _, _ := strings.Cut(name, ":")
			if name = repository + ":" + spec.Version; !slices.Contains(images, name) {
				images = append(images, name)
			}
		}
		k.images = images
	}
	return k
}

// find looks for the first of a kind's images that the engine has.
func (e *engine) find(ctx context.Context, k kind) (image, error) {
	for _, name := range k.images {
		i, err := e.client.ImageInspect(ctx, name)
		switch {
		case err == nil:
			return image{name, i}, nil
		case !errdefs.IsNotFound(err):
			return image{}, e.explain(ctx, fmt.Errorf("look for image %s: %w", name, err), image{}, nil)
		}
	}
	return image{}, fmt.Errorf("the Docker engine has no image of %s (looked for %s): %s", k.name, strings.Join(k.images, ", "), getIt(k.images))
}

// get finds one of a kind's images, makes it, or pulls it.
func (e *engine) get(ctx context.Context, k kind, log *slog.Logger) (image, error) {
	img, err := e.find(ctx, k)
	switch {
	case err == nil:
		return img, nil
	case k.images[0] == emptyImage:
		return e.makeEmpty(ctx, k)
	}
	return e.pull(ctx, k, log)
}

// getIt is the next step of who has none of these images.
func getIt(images []string) string {
	if strings.HasPrefix(images[0], ours) {
		return "run make images, which builds it, or " + instead
	}
	return fmt.Sprintf("docker pull %s, or run make images where no registry can be reached, or %s", images[0], instead)
}

// ours is how the names of what make images builds begin.
const ours = "tlsroute-bench/"

// pull gets the first of a kind's images.
func (e *engine) pull(ctx context.Context, k kind, log *slog.Logger) (image, error) {
	name := k.images[0]
	if strings.HasPrefix(name, ours) { // no registry has them
		_, err := e.find(ctx, k)
		return image{}, err
	}
	log.Info("pulling an image", "image", name)
	pulling, cancel := context.WithTimeoutCause(ctx, pullTimeout, fmt.Errorf("not here after %v", pullTimeout))
	defer cancel()
	var opt client.ImagePullOptions
	// Who is not known to a registry may still pull what is public.
	if _, who, err := testcontainers.DockerImageAuth(pulling, name); err == nil {
		opt.RegistryAuth, _ = authconfig.Encode(who)
	}
	response, err := e.client.ImagePull(pulling, name, opt)
	if err == nil {
		err = response.Wait(pulling)
		_ = response.Close()
	}
	if err != nil {
		if cause := context.Cause(pulling); cause != nil {
			err = cause
		}
		if full := diskFull(err.Error()); full != "" {
			return image{}, fmt.Errorf("pull image %s: %s: %w", name, full, err)
		}
		if len(k.images) > 1 {
			name += " (the engine has none of " + strings.Join(k.images, ", ") + ")"
		}
		return image{}, fmt.Errorf("pull image %s: %w: run make images, which needs no registry, or name an image that is here, or %s", name, err, instead)
	}
	got, err := e.client.ImageInspect(ctx, name)
	if err != nil {
		return image{}, errors.Join(fmt.Errorf("image %s was pulled, and is not there", name), err)
	}
	return image{name, got}, nil
}
