package container

import (
	"context"
	"fmt"
	"strings"

	"github.com/moby/moby/client"
)

// explain says what the engine's refusal or a container's end means, and what to do. log is the end of the container's, nil for none.
func (e *engine) explain(ctx context.Context, err error, img image, log []byte) error {
	said := err.Error() + "\n" + string(log)
	if len(log) > 0 {
		err = fmt.Errorf("%w; the end of its log:\n\t%s", err, strings.ReplaceAll(string(log), "\n", "\n\t"))
	}
	what := diskFull(said)
	if what == "" && portTaken(err) {
		what = "the ports that were chosen for the container were taken by others each time: look at net.ipv4.ip_local_port_range and at what listens (ss -ltn), and try again"
	}
	if what == "" && strings.Contains(said, "exec format error") {
		what = fmt.Sprintf("image %s is for %s/%s, which this engine (%s) cannot run: pull or build it for that", img.name, img.Os, img.Architecture, e.platform(ctx))
	}
	if what == "" {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// platform is what an engine runs by itself.
func (e *engine) platform(ctx context.Context) string {
	v, err := e.client.ServerVersion(context.WithoutCancel(ctx), client.ServerVersionOptions{})
	if err != nil {
		return "platform unknown"
	}
	return v.Os + "/" + v.Arch
}

func diskFull(said string) string {
	if strings.Contains(said, "no space left on device") || strings.Contains(said, "No space left on device") {
		return "the disk of the Docker engine is full: docker system df says with what, docker image prune and docker volume prune free some of it"
	}
	return ""
}

func portTaken(err error) bool {
	return strings.Contains(err.Error(), "port is already allocated") || strings.Contains(err.Error(), "address already in use")
}
