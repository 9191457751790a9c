package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
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

// find looks for the image that is asked for, or for the first of a kind's that the engine has.
func (e *engine) find(ctx context.Context, k kind, asked string) (image, error) {
	names := k.images
	if asked != "" {
		names = []string{asked}
	}
	for _, name := range names {
		i, err := e.client.ImageInspect(ctx, name)
		switch {
		case err == nil:
			return image{name, i}, nil
		case !errdefs.IsNotFound(err):
			return image{}, e.explain(ctx, fmt.Errorf("look for image %s: %w", name, err), image{}, nil)
		}
	}
	return image{}, fmt.Errorf("the Docker engine has no image of %s (looked for %s): %s", k.name, strings.Join(names, ", "), getIt(k, asked))
}

// getIt is the next step of who has no image.
func getIt(k kind, asked string) string {
	official := !strings.HasPrefix(k.images[0], ours)
	switch {
	case asked != "" && !strings.HasPrefix(asked, ours):
		return "check its name and docker pull it, or leave the scenario's image out, or " + instead
	case official && asked == "":
		return fmt.Sprintf("docker pull %s, or run make images where no registry can be reached, or %s", k.images[0], instead)
	}
	return "run make images, which builds it, or " + instead
}

// ours is how the names of what make images builds begin.
const ours = "tlsroute-bench/"

// pull gets the image that is asked for, or the kind's first.
func (e *engine) pull(ctx context.Context, k kind, asked string, log *slog.Logger) (image, error) {
	name := cmp.Or(asked, k.images[0])
	if strings.HasPrefix(name, ours) { // no registry has them
		_, err := e.find(ctx, k, asked)
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
		if asked == "" {
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
