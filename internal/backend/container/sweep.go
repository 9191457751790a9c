package container

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
)

// The labels of what is ours.
const (
	labelRun     = "org.tlsroute-bench.run"     // one process
	labelBackend = "org.tlsroute-bench.backend" // the backend's name
	labelCreated = "org.tlsroute-bench.created" // RFC 3339
	labelOwner   = "org.tlsroute-bench.owner"   // see owner
)

// staleAfter is the age at which a container is removed whose owner cannot be looked for.
const staleAfter = time.Hour

var runID = sync.OnceValue(func() string { return strings.ToLower(rand.Text()) })

func labels(name string) map[string]string {
	return map[string]string{
		labelRun: runID(), labelBackend: name, labelCreated: time.Now().UTC().Format(time.RFC3339), labelOwner: self().String(),
	}
}

var sweeping sync.Once

// sweepOnce sweeps at this process's first start of a container. What cannot be removed is said, and no reason to start nothing.
func sweepOnce(ctx context.Context, e *engine, log *slog.Logger) {
	sweeping.Do(func() {
		if err := e.sweep(ctx, time.Now(), log); err != nil {
			log.Warn("containers of earlier runs are left", "error", err)
		}
	})
}

// sweep removes the containers of processes that were killed before they could: those whose owner is known to be gone, and those of
// which that cannot be said once they are older than staleAfter.
func (e *engine) sweep(ctx context.Context, now time.Time, log *slog.Logger) error {
	list, err := e.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", labelRun)})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, c := range list.Items {
		if c.Labels[labelRun] == runID() || !stale(c.Labels, time.Unix(c.Created, 0), now) {
			continue
		}
		if err := e.remove(ctx, c.ID); err != nil {
			return err
		}
		log.Info("removed a container that a process which was killed had left", "backend", c.Labels[labelBackend], "created", c.Labels[labelCreated])
	}
	return nil
}

func stale(labels map[string]string, created, now time.Time) bool {
	if at, err := time.Parse(time.RFC3339, labels[labelCreated]); err == nil {
		created = at
	}
	gone, known := parseOwner(labels[labelOwner]).gone()
	return known && gone || !known && now.Sub(created) > staleAfter
}

// owner is a process, told from all others that have had or will have its number: by the boot and namespace that counts it, and
// by when it began in ticks of that boot.
type owner struct {
	boot, namespace string
	pid             int
	began           string
}

func self() owner { return owner{boot(), namespace(), os.Getpid(), began(os.Getpid())} }

func (o owner) String() string {
	return strings.Join([]string{o.boot, o.namespace, strconv.Itoa(o.pid), o.began}, "/")
}

func parseOwner(text string) owner {
	part := strings.Split(text, "/")
	if len(part) != 4 {
		return owner{}
	}
	pid, _ := strconv.Atoi(part[2])
	return owner{part[0], part[1], pid, part[3]}
}

// gone tells whether the process has ended, where that can be told from here: Linux, and the same namespace of process numbers.
func (o owner) gone() (gone, known bool) {
	if o.boot == "" || o.namespace == "" || o.pid == 0 || o.began == "" || o.boot != boot() || o.namespace != namespace() {
		return false, false
	}
	return began(o.pid) != o.began, true
}

// boot identifies this boot, empty where the system does not say.
func boot() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

func namespace() string {
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return link
}

// began is when a process of this namespace started, empty when there is none.
func began(pid int) string {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ""
	}
	// The second field is the program's name in parentheses, which may hold anything. The 22nd is the start.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}
