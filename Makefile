# Everything a developer does here; "make help" lists it.
.DEFAULT_GOAL := help
.PHONY: help build run test compiled test-quick test-teleport test-transactions test-docker test-swarm test-gib test-kube test-h2spec images images-check mutants steady fuzz lint fmt gen bench bench-router bench-alb bench-aa bench-widths packages check clean

GO      ?= go
TOOL    := $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 30s
MUTANTS  ?= KillMatrix
# What the tests with real servers and a real browser need, by Debian package.
PACKAGES := gcc libc6-dev postgresql postgresql-client mariadb-server mariadb-client openssh-server openssh-client rsync openssl chromium jq curl procps python3 haproxy nginx libnginx-mod-stream caddy apache2 sslh stunnel4 'kubectl|kubernetes-client'

help: ## print this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/tlsroute-bench
	$(GO) build -trimpath -buildvcs=true -o bin/tlsroute-bench .

run: ## the main job on embedded backends: needs no root, no Docker, nothing installed
	$(GO) run . run scenarios/alb.yaml

# Packages are built side by side and then tested one at a time: some measure time, and would measure each other.
# The race detector waits a second at the end of each program by default; there are hundreds.
test: export GORACE := atexit_sleep_ms=50
test: packages ## everything: installs and builds what it needs, then unit, race, script, real-backend, container and browser tests; prints how many ran
	@$(MAKE) --no-print-directory -j 2 images compiled
	$(TOOL) gotestsum --format pkgname -- -race -tags browser,h2spec,docker -p 1 -timeout 30m ./...

compiled: # what the tests need, into the build cache
	$(GO) test -race -tags browser,h2spec,docker -run '^$$' ./... >/dev/null

test-quick: ## the same without the race detector, without the browser, without Docker and without installing anything
	$(GO) test ./...

test-teleport: ## Teleport's published client against our router, in its three modes (builds its module, which takes minutes the first time)
	$(GO) test -race -tags teleport -run Teleport -timeout 30m ./refimpl/router

# TRANSACTIONS takes flags, such as TRANSACTIONS='-transactions 100000 -fault-every 5s'.
test-transactions: ## committed means committed: 10,000 transactions of PostgreSQL and of MariaDB over the load balancer, with a fault every second
	$(GO) test ./internal/lab -run CommittedMeansCommitted -count 1 -v -timeout 60m -transactions 10000 -fault-every 1s -at-most 0 $(TRANSACTIONS)

test-docker: ## what needs Docker, alone: backends as containers, and an implementation in a container is judged (installs busybox-static as root)
	@./tools/packages.sh busybox-static
	$(GO) test -tags docker,image -run 'Image|Container' -v . ./internal/backend/container

test-swarm: ## what needs Docker's swarm mode: four agents as a replicated job (makes this engine a swarm of its own, and leaves it)
	$(GO) test -tags docker,image -run Swarm -v .

test-gib: ## a GiB each way through an upgraded path, hashes compared, without the race detector, which is too slow for it
	TLSROUTE_TEST_BODY=1073741824 $(GO) test -run 'HTTPOverEveryPath/paths/alb-https' -v ./internal/lab

test-kube: ## the manifests of docs/kubernetes against the types of Kubernetes (a module of its own)
	cd tools/kubecheck && $(GO) test ./...

test-h2spec: ## h2spec against the simulator's h2 front end; what it finds beyond the list with reasons fails
	$(GO) test -tags h2spec -run H2Spec -v ./albsim

check: fmt lint gen test ## what a change must pass before it is pushed

packages: ## install the Debian packages that the tests need (as root; nothing is started)
	@./tools/packages.sh $(PACKAGES)

images: ## build the images of real backends from Debian packages, for machines that reach no registry (as root, with Docker; seconds when nothing changed)
	@./tools/packages.sh mmdebstrap
	@internal/backend/container/images/build.sh

images-check: ## build them all twice from nothing and compare every file (ten minutes)
	@./tools/packages.sh mmdebstrap
	$(GO) test -tags imagescheck -run SameTwice -timeout 40m -v ./internal/backend/container/images

# MUTANTS chooses some of them, such as MUTANTS='KillMatrix/.*/TLS-01', and FAULTS some of those, such as FAULTS="--fault 'byte-*'".
mutants: build ## print which mutant kills which check, and which fault before our own router is noticed; fails when one is left over
	@rm -f bin/kill-matrix.txt; status=0; $(GO) test ./conformance/selftest -run '$(MUTANTS)' -args -matrix $(CURDIR)/bin/kill-matrix.txt || status=$$?; \
	if [ -f bin/kill-matrix.txt ]; then cat bin/kill-matrix.txt; fi; echo; \
	PATH=$(CURDIR)/bin:$$PATH bin/tlsroute-bench checks strength --quiet --target router=conformance/targets/tlsroute-router.yaml $(FAULTS) || status=$$?; exit $$status

RUNS ?= 100
steady: build ## the router suite at MUST through its adapter RUNS times: fails on any FLAKY, and on any verdict that differs from run to run
	PATH=$(CURDIR)/bin:$$PATH ./tools/steady.sh $(RUNS) bin/steady

fuzz: ## fuzz every parser for FUZZTIME each
	@set -e; for target in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$target/*_test.go | cut -c6-); do \
	    echo "== $$target $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$target; done; done

bench: ## our own benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

# Its figures are of the commit that is checked out. PEERS takes flags, such as PEERS='-rows ping -json out.json'.
bench-router: build ## our router against HAProxy and nginx, each a process of its own (installs them as root; five minutes)
	@./tools/packages.sh haproxy nginx-full libnginx-mod-stream linux-perf
	$(GO) build -trimpath -o bin/peers ./internal/peers
	bin/peers -router bin/tlsroute-bench $(PEERS)

bench-alb: build ## the load balancer simulator against HAProxy and nginx as load balancers (installs them as root; a minute)
	@./tools/packages.sh haproxy nginx-full
	$(GO) build -trimpath -o bin/peers ./internal/peers
	bin/peers -alb -router bin/tlsroute-bench $(PEERS)

bench-aa: ## the bench on the same path as both arms, 20 times, and with 200 µs added to one (eight minutes; AA takes flags, such as AA='-runs 5')
	$(GO) run ./internal/aa $(AA)

bench-widths: build ## how narrow the intervals of scenario latency are when both arms are one path (five minutes)
	PATH=$(CURDIR)/bin:$$PATH ./tools/widths.sh bin/widths

lint: ## the pinned linters (the first run builds them)
	$(TOOL) golangci-lint run ./...

fmt: ## format everything
	$(TOOL) golangci-lint fmt ./...

gen: ## write the generated files again: JSON Schemas, docs/alb-rows.md, docs/profiles.md, docs/catalogue.md
	$(GO) run ./internal/gen .

clean: ## remove what builds and runs leave
	rm -rf bin reports/out
