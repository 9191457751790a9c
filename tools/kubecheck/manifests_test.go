// Package kubecheck holds the manifests of docs/kubernetes against the types of Kubernetes. It is a module of its own, so that those
// types stay out of the program's.
package kubecheck

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// kinds are the documents that there may be.
var kinds = map[string]func() any{
	"v1 Service":                         func() any { return &core.Service{} },
	"v1 PersistentVolumeClaim":           func() any { return &core.PersistentVolumeClaim{} },
	"batch/v1 Job":                       func() any { return &batch.Job{} },
	"networking.k8s.io/v1 NetworkPolicy": func() any { return &networking.NetworkPolicy{} },
}

const folder = "../../docs/kubernetes"

// read takes a file apart into values of Kubernetes' own types; a field that they do not have, or twice, is an error.
func read(data []byte) (list []any, err error) {
	for i, doc := range strings.Split("\n"+string(data), "\n---\n") {
		var about meta.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &about); err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		kind := about.APIVersion + " " + about.Kind
		make := kinds[kind]
		if make == nil {
			return nil, fmt.Errorf("document %d: there is no %q", i+1, kind)
		}
		v := make()
		if err := yaml.UnmarshalStrict([]byte(doc), v); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		list = append(list, v)
	}
	return list, nil
}

func one[T any](t *testing.T, list []any) T {
	t.Helper()
	var found []T
	for _, v := range list {
		if v, ok := v.(T); ok {
			found = append(found, v)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d of %T, want one", len(found), found)
	}
	return found[0]
}

// What the manifests say fits the types, and one part of them the others: what the API server checks, and what it cannot know.
func TestTheJobIsOneMeasurement(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(folder, "agents.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	job, service, claim, policy := one[*batch.Job](t, list), one[*core.Service](t, list), one[*core.PersistentVolumeClaim](t, list), one[*networking.NetworkPolicy](t, list)
	pod := job.Spec.Template
	if m := job.Spec.CompletionMode; m == nil || *m != batch.IndexedCompletion {
		t.Error("the job is not indexed: there is no JOB_COMPLETION_INDEX")
	}
	if job.Spec.Completions == nil || job.Spec.Parallelism == nil || *job.Spec.Completions != *job.Spec.Parallelism {
		t.Fatal("not all agents run at once: the start barrier is never passed")
	}
	if job.Spec.BackoffLimit == nil || *job.Spec.BackoffLimit != 0 || pod.Spec.RestartPolicy != core.RestartPolicyNever {
		t.Error("an agent that failed is started again, for a measurement that is over")
	}
	if job.Spec.Selector != nil {
		t.Error("a job makes its selector itself")
	}
	if service.Spec.ClusterIP != core.ClusterIPNone || !service.Spec.PublishNotReadyAddresses || pod.Spec.Subdomain != service.Name {
		t.Error("pods have no names of their own: the service must be headless and the pods' subdomain")
	}
	for what, selector := range map[string]map[string]string{
		"service": service.Spec.Selector, "policy": policy.Spec.PodSelector.MatchLabels, "policy's peer": policy.Spec.Ingress[0].From[0].PodSelector.MatchLabels,
		"spread": pod.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
	} {
		if len(selector) == 0 {
			t.Errorf("the %s selects everything", what)
		}
		for k, v := range selector {
			if pod.Labels[k] != v {
				t.Errorf("the %s selects %s=%s, which the pods do not have", what, k, v)
			}
		}
	}

	if len(pod.Spec.Containers) != 1 {
		t.Fatalf("%d containers", len(pod.Spec.Containers))
	}
	c := pod.Spec.Containers[0]
	port := c.Ports[0].ContainerPort
	if service.Spec.Ports[0].TargetPort != intstr.FromString(c.Ports[0].Name) || service.Spec.Ports[0].Port != port || policy.Spec.Ingress[0].Ports[0].Port.IntVal != port {
		t.Error("service, policy and container have different ports")
	}
	shard, coordinator := fmt.Sprintf("--shard=$(JOB_COMPLETION_INDEX)/%d", *job.Spec.Completions), fmt.Sprintf("--coordinator=%s-0.%s:%d", job.Name, service.Name, port)
	for _, want := range []string{shard, coordinator} {
		if !slices.Contains(c.Args, want) {
			t.Errorf("no argument %s in %q", want, c.Args)
		}
	}
	// Every mount is of a volume, every file that is named is below a mount, and results go to the claim.
	volumes := map[string]core.Volume{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = v
	}
	mounts := map[string]core.VolumeMount{}
	for _, m := range c.VolumeMounts {
		mounts[m.MountPath] = m
		if _, ok := volumes[m.Name]; !ok {
			t.Errorf("mount %s is of no volume", m.Name)
		}
	}
	for _, arg := range c.Args {
		value := arg[strings.IndexByte(arg, '=')+1:]
		if rest, ok := strings.CutPrefix(value, "/"); ok {
			top, _, _ := strings.Cut(rest, "/")
			if _, ok := mounts["/"+top]; !ok {
				t.Errorf("%s is below no mount", arg)
			}
		}
	}
	if results := volumes[mounts["/results"].Name]; results.PersistentVolumeClaim == nil || results.PersistentVolumeClaim.ClaimName != claim.Name || mounts["/results"].ReadOnly {
		t.Errorf("results are not kept: %+v", results)
	}
	if q := c.Resources; !q.Limits.Cpu().Equal(*q.Requests.Cpu()) || !q.Limits.Memory().Equal(*q.Requests.Memory()) || q.Limits.Cpu().MilliValue()%1000 != 0 {
		t.Error("the agents are not of class Guaranteed with whole processors: they would be measured as well")
	}
	if s := c.SecurityContext; s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || pod.Spec.SecurityContext.RunAsNonRoot == nil {
		t.Error("the agents have more rights than they need")
	}
}

// The program takes the very arguments of the manifest: it stops at the certificates, which are not here, and nowhere before.
func TestTheProgramTakesTheArguments(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(folder, "agents.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "tlsroute-bench")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var args []string
	for _, a := range one[*batch.Job](t, list).Spec.Template.Spec.Containers[0].Args {
		args = append(args, strings.ReplaceAll(a, "$(JOB_COMPLETION_INDEX)", "3"))
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("--cert: open /agents/tls.crt")) {
		t.Errorf("%v: %s", err, out)
	}
}

// A field that Kubernetes does not have is noticed.
func TestStrictness(t *testing.T) {
	for what, text := range map[string]string{
		"field": "apiVersion: batch/v1\nkind: Job\nspec: {completionsMode: Indexed}\n",
		"type":  "apiVersion: batch/v1\nkind: Job\nspec: {completions: four}\n",
		"twice": "apiVersion: v1\nkind: Service\nspec: {clusterIP: None}\nspec: {}\n",
		"kind":  "apiVersion: batch/v1\nkind: Jobs\n",
	} {
		if _, err := read([]byte(text)); err == nil {
			t.Errorf("%s: no error", what)
		} else {
			t.Log(err)
		}
	}
}
