package container

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

func TestOnlyWhatIsStaleIsSwept(t *testing.T) {
	if runtime.GOOS != "linux" {
		if _, known := self().gone(); known {
			t.Error("only Linux tells when a process began; elsewhere age alone counts")
		}
		return
	}
	now := time.Now()
	child := exec.Command("true")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	dead, reused, elsewhere := self(), self(), self()
	dead.pid = child.Process.Pid
	reused.began += "0" // this process's number, of somebody who began at another time
	elsewhere.boot = "another"
	parent := owner{boot(), namespace(), os.Getppid(), began(os.Getppid())}
	for _, c := range []struct {
		name  string
		owner string
		age   time.Duration
		stale bool
	}{
		{"our own", self().String(), 48 * time.Hour, false},
		{"of a process that lives", parent.String(), 48 * time.Hour, false},
		{"of a process that ended", dead.String(), time.Minute, true},
		{"of a number that is another's now", reused.String(), time.Minute, true},
		{"of another machine or boot, young", elsewhere.String(), 59 * time.Minute, false},
		{"of another machine or boot, old", elsewhere.String(), 61 * time.Minute, true},
		{"of nobody known, young", "", 59 * time.Minute, false},
		{"of nobody known, old", "rubbish", 61 * time.Minute, true},
	} {
		labels := map[string]string{labelCreated: now.Add(-c.age).Format(time.RFC3339), labelOwner: c.owner}
		if got := stale(labels, now, now); got != c.stale {
			t.Errorf("%s: stale is %t, want %t", c.name, got, c.stale)
		}
	}
	if stale(nil, now.Add(-2*time.Hour), now) == false {
		t.Error("without a label for it the engine's time counts")
	}
	if parts := strings.Split(self().String(), "/"); len(parts) != 4 || parts[2] != strconv.Itoa(os.Getpid()) {
		t.Errorf("an owner is %q", self())
	}
}

func TestWhichEngineIsOfThisMachine(t *testing.T) {
	for host, want := range map[string]bool{
		"unix:///var/run/docker.sock": true, "npipe:////./pipe/docker_engine": true, "tcp://127.0.0.1:2375": true, "tcp://localhost:2375": true,
		"tcp://[::1]:2375": true, "tcp://192.0.2.1:2376": false, "ssh://root@example.test": false, ":": false,
	} {
		if got := onThisMachine(host); got != want {
			t.Errorf("%s: %t, want %t", host, got, want)
		}
	}
}

func TestWhoMayNotUseTheEngineIsToldTheGroup(t *testing.T) {
	if err := noEngine(os.ErrPermission); !strings.Contains(err.Error(), "usermod -aG docker") {
		t.Error(err)
	}
}

func TestTheDigestIsTheRegistrysOfThatName(t *testing.T) {
	i := image{name: "example.test:5000/a/postgres:17"}
	i.ID = "sha256:id"
	if got := i.digest(); got != "sha256:id" {
		t.Errorf("without a registry: %s", got)
	}
	i.RepoDigests = []string{"postgres@sha256:1", "example.test:5000/a/postgres@sha256:2"}
	if got := i.digest(); got != "sha256:2" {
		t.Errorf("of two registries: %s", got)
	}
	i.name = "other"
	if got := i.digest(); got != "sha256:1" {
		t.Errorf("of the same image by another name: %s", got)
	}
}

func TestAVersionIsOfTheFirstRepositoriesThenOurs(t *testing.T) {
	k := kind{images: []string{"mysql:8.4", "mysql:9", "mariadb:11", "tlsroute-bench/mariadb:10.11"}}
	if got := k.of(backend.Spec{Version: "10.11"}).images; !slices.Equal(got, []string{"mysql:10.11", "mariadb:10.11", "tlsroute-bench/mariadb:10.11"}) {
		t.Errorf("version 10.11: %v", got)
	}
	if got := k.of(backend.Spec{Version: "10.11", Image: "mine"}).images; !slices.Equal(got, []string{"mine"}) {
		t.Errorf("an image goes before a version: %v", got)
	}
	if len(k.of(backend.Spec{}).images) != 4 {
		t.Error("without either all will do")
	}
}
