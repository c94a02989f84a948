package conf_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// deployments are the files that others' tools read.
func deployments(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{"compose.yaml", "k8s/*.yaml", "systemd/*.service", "Containerfile"} {
		some, err := filepath.Glob(pattern)
		if err != nil || len(some) == 0 {
			t.Fatalf("%s: found %q, %v", pattern, some, err)
		}
		names = append(names, some...)
	}
	return names
}

// documents are the YAML documents of a file.
func documents(t *testing.T, name string) (all []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc map[string]any
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, doc)
	}
}

// variables are the variables of every key of a committed configuration, which
// holds every key: the tests of the binaries see to that.
func variables(t *testing.T, names ...string) map[string]bool {
	known := map[string]bool{}
	var walk func(path string, node any)
	walk = func(path string, node any) {
		section, ok := node.(map[string]any)
		if !ok {
			known["FREEIM"+strings.ToUpper(path)] = true
			return
		}
		for key, below := range section {
			walk(path+"_"+key, below)
		}
	}
	for _, name := range names {
		for _, doc := range documents(t, name) {
			walk("", doc)
		}
	}
	return known
}

// Every variable that a deployment sets is a key's: our loader is strict, and a
// process would not start. Processes of one kind get their own file's only.
func TestDeployedVariables(t *testing.T) {
	variable := regexp.MustCompile(`\bFREEIM_[A-Z0-9_]*[A-Z0-9]\b`)
	for _, name := range deployments(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		known := variables(t, "core.yaml", "edge.yaml")
		switch {
		case strings.Contains(filepath.Base(name), "core"):
			known = variables(t, "core.yaml")
		case strings.Contains(filepath.Base(name), "edge"):
			known = variables(t, "edge.yaml")
		}
		for _, v := range variable.FindAllString(string(text), -1) {
			if !known[v] {
				t.Errorf("%s: %s is no key's variable", name, v)
			}
		}
		if found := regexp.MustCompile(`(?m)(image:|FROM) *\S*\.\S*/`).FindString(string(text)); found != "" {
			t.Errorf("%s: %q names a registry", name, found)
		}
	}
}

// What people upload is in one place: cores and edges mount the same, and are told so.
func TestDeployedFiles(t *testing.T) {
	const dir = "/freeim/files"
	compose := documents(t, "compose.yaml")[0]
	if _, ok := pick(compose, "volumes").(map[string]any)["files"]; !ok {
		t.Error("compose.yaml has no volume for files")
	}
	for name, key := range map[string]string{"core-1": "FREEIM_PLUGINS_FILE_DIR", "core-2": "FREEIM_PLUGINS_FILE_DIR", "edge-1": "FREEIM_EDGE_FILES_DIR", "edge-2": "FREEIM_EDGE_FILES_DIR"} {
		service := pick(compose, "services", name)
		volumes, _ := pick(service, "volumes").([]any)
		if !slices.Contains(volumes, any("files:"+dir)) || pick(service, "environment", key) != dir {
			t.Errorf("%s: %v, %v", name, volumes, pick(service, "environment", key))
		}
	}
	if text, err := os.ReadFile("Containerfile"); err != nil || !strings.Contains(string(text), "chown freeim /freeim/data "+dir) {
		t.Errorf("the image's user may not write to %s, %v", dir, err)
	}
	claim := documents(t, "k8s/files.yaml")[0]
	if pick(claim, "kind") != "PersistentVolumeClaim" || fmt.Sprint(pick(claim, "spec", "accessModes")) != "[ReadWriteMany]" {
		t.Errorf("the claim is %v", claim)
	}
	for name, key := range map[string]string{"core": "FREEIM_PLUGINS_FILE_DIR", "edge": "FREEIM_EDGE_FILES_DIR"} {
		var told, mounted, claimed bool
		for _, doc := range documents(t, "k8s/"+name+".yaml") {
			told = told || pick(doc, "data", key) == dir
			pod := pick(doc, "spec", "template", "spec")
			mounts, _ := pick(pod, "containers", 0, "volumeMounts").([]any)
			for _, one := range mounts {
				mounted = mounted || pick(one, "name") == "files" && pick(one, "mountPath") == dir
			}
			volumes, _ := pick(pod, "volumes").([]any)
			for _, one := range volumes {
				claimed = claimed || pick(one, "name") == "files" && pick(one, "persistentVolumeClaim", "claimName") == pick(claim, "metadata", "name")
			}
		}
		if !told || !mounted || !claimed {
			t.Errorf("k8s/%s.yaml: told %v, mounted %v, claimed %v", name, told, mounted, claimed)
		}
		unit, err := os.ReadFile("systemd/freeim-" + name + ".service")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"User=freeim-" + name, "SupplementaryGroups=freeim-files", "RequiresMountsFor=%S/freeim-files", "ReadWritePaths=-%S/freeim-files", "UMask=0007",
			"StateDirectory=freeim-" + name, "Environment=" + key + "=%S/freeim-files"} {
			if !strings.Contains(string(unit), "\n"+line+"\n") {
				t.Errorf("the %s's unit does not say %s", name, line)
			}
		}
	}
}

// pick gives what is at a path of keys, nil if there is nothing.
func pick(node any, path ...any) any {
	for _, key := range path {
		switch key := key.(type) {
		case string:
			section, _ := node.(map[string]any)
			node = section[key]
		case int:
			list, _ := node.([]any)
			if key >= len(list) {
				return nil
			}
			node = list[key]
		}
	}
	return node
}

// seconds reads a duration out of a ConfigMap or a unit.
func seconds(t *testing.T, text any) float64 {
	t.Helper()
	if text == nil {
		return 0
	}
	d, err := time.ParseDuration(fmt.Sprint(text))
	if err != nil {
		t.Fatal(err)
	}
	return d.Seconds()
}

// Kubernetes gives a pod more time than its drain takes, probes what exists, and
// sets no variables of its own.
func TestKubernetes(t *testing.T) {
	health, err := os.ReadFile("../core/admin/health.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]string{"core": "Deployment", "edge": "StatefulSet"} {
		var values, pod any
		kinds := map[string]int{}
		for _, doc := range documents(t, "k8s/"+name+".yaml") {
			kinds[fmt.Sprint(doc["kind"])]++
			switch doc["kind"] {
			case "ConfigMap":
				values = doc["data"]
			case kind:
				pod = pick(doc, "spec", "template", "spec")
			}
		}
		if pod == nil || kinds["PodDisruptionBudget"] != 1 || kinds["Service"] == 0 {
			t.Fatalf("%s: found %v", name, kinds)
		}
		if pick(pod, "enableServiceLinks") != false {
			t.Errorf("%s: service links would be variables that are no keys", name)
		}
		prefix := "FREEIM_" + strings.ToUpper(name)
		grace, _ := pick(pod, "terminationGracePeriodSeconds").(int)
		drain := 5 + seconds(t, pick(values, prefix+"_DRAIN_DELAY")) + seconds(t, pick(values, prefix+"_DRAIN_TIMEOUT"))
		if float64(grace) <= drain || drain <= 5 {
			t.Errorf("%s: %d s to end, its drain may take %v", name, grace, drain)
		}
		if command := pick(pod, "containers", 0, "lifecycle", "preStop", "exec", "command"); fmt.Sprint(command) != "[sleep 5]" {
			t.Errorf("%s: preStop is %v", name, command)
		}
		for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
			get := pick(pod, "containers", 0, probe, "httpGet")
			path := fmt.Sprint(pick(get, "path"))
			if !strings.Contains(string(health), strconv.Quote(path)) || pick(get, "port") != "admin" {
				t.Errorf("%s: the %s asks %v", name, probe, get)
			}
		}
		if probe := pick(pod, "containers", 0, "readinessProbe", "httpGet", "path"); probe != "/readyz" {
			t.Errorf("%s: readiness is asked of %v", name, probe)
		}
		ports := fmt.Sprint(pick(pod, "containers", 0, "ports"))
		listen := fmt.Sprint(pick(values, "FREEIM_ADMIN_LISTEN"))
		if port := listen[strings.LastIndex(listen, ":")+1:]; !strings.Contains(ports, "containerPort:"+port+" name:admin") {
			t.Errorf("%s: the administrative port is %s, the pod's ports are %s", name, port, ports)
		}
	}
	for _, resource := range pick(documents(t, "k8s/kustomization.yaml")[0], "resources").([]any) {
		if _, err := os.Stat(filepath.Join("k8s", resource.(string))); err != nil {
			t.Error(err)
		}
	}
}

func TestCompose(t *testing.T) {
	doc := documents(t, "compose.yaml")[0]
	for _, name := range []string{"core-1", "core-2", "edge-1", "edge-2", "mariadb", "redis"} {
		service := pick(doc, "services", name)
		if pick(service, "image") == nil || pick(service, "healthcheck", "test") == nil {
			t.Errorf("%s has no image or no health check", name)
		}
		environment, _ := pick(service, "environment").(map[string]any)
		for _, key := range []string{"FREEIM_CORE_DRAIN_TIMEOUT", "FREEIM_EDGE_DRAIN_TIMEOUT"} {
			if value, ok := environment[key]; ok && seconds(t, value) >= seconds(t, pick(service, "stop_grace_period")) {
				t.Errorf("%s: its drain takes longer than it is given", name)
			}
		}
		if strings.HasPrefix(name, "core") && !slices.Contains(pick(service, "networks", "default", "aliases").([]any), any("core")) {
			t.Errorf("%s is not found by the name that edges look up", name)
		}
	}
}

// The units pass systemd's own check, in which the programs they start must exist.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob("systemd/*.service")
	if err != nil || len(units) != 3 {
		t.Fatalf("found %q, %v", units, err)
	}
	dir := t.TempDir()
	var copies []string
	for _, name := range units {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		drain := 0.0
		for _, found := range regexp.MustCompile(`DRAIN_TIMEOUT=(\S+)`).FindAllStringSubmatch(string(text), -1) {
			drain += seconds(t, found[1])
		}
		stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\S+)$`).FindStringSubmatch(string(text))
		if stop == nil || drain == 0 || seconds(t, stop[1]) <= drain {
			t.Errorf("%s: %q to stop, its drain takes %v s", name, stop, drain)
		}
		copies = append(copies, filepath.Join(dir, filepath.Base(name)))
		text = regexp.MustCompile(`/opt/freeim/bin/(edge|core)`).ReplaceAll(text, []byte("/bin/true"))
		if err := os.WriteFile(copies[len(copies)-1], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("SKIPPED: systemd's check of the units: there is no systemd-analyze")
	}
	if said, err := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"verify", "--man=no"}, copies...)...).CombinedOutput(); err != nil || strings.Contains(string(said), dir) {
		t.Errorf("systemd-analyze: %v\n%s", err, said)
	}
}

// TestAccounts: systemd makes of what is shipped two accounts, and a directory that both may write to and nobody else reads.
func TestAccounts(t *testing.T) {
	for _, name := range []string{"systemd-sysusers", "systemd-tmpfiles"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("SKIPPED: systemd's accounts: there is no " + name)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: systemd's accounts: only root makes some")
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"systemd-sysusers", "--root=" + root, "systemd/sysusers.conf"}, {"systemd-tmpfiles", "--root=" + root, "--create", "systemd/tmpfiles.conf"}} {
		name, err := filepath.Abs(args[len(args)-1])
		if err != nil {
			t.Fatal(err)
		}
		args[len(args)-1] = name
		if said, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, said)
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "etc/group"))
	if err != nil || !regexp.MustCompile(`(?m)^freeim-files:[^:]*:(\d+):(freeim-core,freeim-edge|freeim-edge,freeim-core)$`).Match(text) {
		t.Errorf("the groups are %s, %v", text, err)
	}
	at, err := os.Stat(filepath.Join(root, "var/lib/freeim-files"))
	if err != nil {
		t.Fatal(err)
	}
	if at.Mode() != os.ModeDir|os.ModeSetgid|0o770 {
		t.Errorf("the directory is %v", at.Mode())
	}
	if group := fmt.Sprint(":", at.Sys().(*syscall.Stat_t).Gid, ":"); !regexp.MustCompile(`(?m)^freeim-files:[^:]*` + group).Match(text) {
		t.Errorf("the directory is of group %s, the groups are %s", group, text)
	}
}

// kubectl takes the manifests together.
func TestKustomize(t *testing.T) {
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip("SKIPPED: kubectl's reading of the manifests: there is no kubectl")
	}
	if said, err := exec.CommandContext(t.Context(), "kubectl", "kustomize", "k8s").CombinedOutput(); err != nil {
		t.Errorf("kubectl kustomize: %v\n%s", err, said)
	}
}

// How engines are reached over TLS is told with the names of all keys, and the example there has keys that there are.
func TestSecuredEngines(t *testing.T) {
	text, err := os.ReadFile("DEPLOYMENT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## TLS to engines\n")
	section, _, ends := strings.Cut(section, "\n## ")
	if !found || !ends {
		t.Fatal("there is no such section")
	}
	var walk func(path string, node any, visit func(path string))
	walk = func(path string, node any, visit func(path string)) {
		below, ok := node.(map[string]any)
		if !ok {
			visit(path)
			return
		}
		for key, one := range below {
			walk(strings.TrimPrefix(path+"."+key, "."), one, visit)
		}
	}
	known := map[string]bool{}
	for _, name := range []string{"core.yaml", "edge.yaml"} {
		for _, doc := range documents(t, name) {
			walk("", doc, func(path string) {
				known[path] = true
				last := path[strings.LastIndexByte(path, '.')+1:]
				if (last == "tls" || strings.HasPrefix(last, "tls_") || last == "ca_file") && !strings.Contains(section, "`"+path+"`") {
					t.Errorf("%s is not told of", path)
				}
			})
		}
	}
	_, example, _ := strings.Cut(section, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(example), &doc); err != nil || len(doc) != 2 {
		t.Fatalf("the example has %d sections, %v", len(doc), err)
	}
	walk("", doc, func(path string) {
		if !known[path] {
			t.Errorf("the example has %s, which is no key", path)
		}
	})
	for _, key := range regexp.MustCompile("`((core|edge|plugins)\\.[a-z0-9_.]+)`").FindAllStringSubmatch(section, -1) {
		if !known[key[1]] {
			t.Errorf("%s is no key", key[1])
		}
	}
}
