//go:build imagescheck

package images

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Two builds from nothing have the same files: names, kinds, modes, owners, links, extended attributes and contents; and the same settings.
// Times are not compared: Docker writes the time of the build into the folders that a step touches.
func TestSameTwice(t *testing.T) {
	first, second := buildAll(t, "tlsroute-bench-check-1"), buildAll(t, "tlsroute-bench-check-2")
	if len(first) < 6 || len(first) != len(second) {
		t.Fatalf("the builds have %d and %d images, want the same 6 or more", len(first), len(second))
	}
	seen := map[string]bool{} // an image has several names
	for name, one := range first {
		id := docker(t, "image", "inspect", "--format", "{{.Id}}", one)
		if seen[id] {
			continue
		}
		seen[id] = true
		two, ok := second[name]
		if !ok {
			t.Errorf("%s is in the first build only", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			const settings = "{{json .Config.Env}} {{json .Config.Cmd}} {{json .Config.Entrypoint}} {{json .Config.Volumes}} {{index .Config.Labels \"tlsroute-bench.packages\"}}"
			if a, b := docker(t, "image", "inspect", "--format", settings, one), docker(t, "image", "inspect", "--format", settings, two); a != b {
				t.Errorf("the settings differ:\n%s\n%s", a, b)
			}
			a, b := exported(t, one), exported(t, two)
			names := maps.Clone(a)
			maps.Copy(names, b)
			for _, path := range slices.Sorted(maps.Keys(names)) {
				if a[path] != b[path] {
					t.Errorf("%s differs:\n\t%s\n\t%s", path, a[path], b[path])
				}
			}
			t.Logf("%d files", len(a))
		})
	}
}

// buildAll builds everything anew under names that begin with namespace, and returns the full names by what follows it.
func buildAll(t *testing.T, namespace string) map[string]string {
	t.Helper()
	list := func() []string {
		out, err := exec.Command("docker", "image", "ls", "--filter", "reference="+namespace+"/*", "--format", "{{.Repository}}:{{.Tag}}").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	t.Cleanup(func() {
		if tags := list(); len(tags) > 0 {
			if out, err := exec.Command("docker", append([]string{"image", "rm"}, tags...)...).CombinedOutput(); err != nil {
				t.Errorf("remove images: %v\n%s", err, out)
			}
		}
	})
	build := exec.CommandContext(t.Context(), "./build.sh")
	build.Env = append(os.Environ(), "NAMESPACE="+namespace, "FRESH=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	images := map[string]string{}
	for _, tag := range list() {
		images[strings.TrimPrefix(tag, namespace+"/")] = tag
	}
	return images
}

// exported is one line for each file of an image.
func exported(t *testing.T, image string) map[string]string {
	t.Helper()
	id := docker(t, "create", image)
	defer docker(t, "rm", "--volumes", id)
	cmd := exec.CommandContext(t.Context(), "docker", "export", id)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			t.Fatal(err)
		}
		// Times stand among the records too.
		maps.DeleteFunc(h.PAXRecords, func(key, _ string) bool { return strings.HasSuffix(key, "time") })
		files[h.Name] = fmt.Sprintf("%c %o %d:%d %d bytes, %q %d.%d %v sha256 %x", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.Linkname, h.Devmajor, h.Devminor, h.PAXRecords, sum.Sum(nil))
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return files
}
