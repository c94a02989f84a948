# What can be done with freeim: "make help" lists it. Everything needs Go only;
# "make test" says what else it would like and what it skips without.

GO ?= go
# pebblegozstd: Pebble's zstd in Go. It is not used, and in C takes the longest of all packages to build.
export GOFLAGS := -mod=readonly -tags=pebblegozstd $(GOFLAGS)
# How many packages are tested at once, and tests in one: most wait, for a disk, a database or a deadline.
# Under the race detector they compute: there as many packages as there are processors.
BESIDE := -p 3 -parallel 4

# The packages whose tests start whole servers or a browser; the race detector
# watches all others.
WHOLE := ./bench ./bench/e2e/... ./edge/web/... ./core/command
WATCHED = $$($(GO) list ./... | grep -vxF "$$($(GO) list $(WHOLE))")
# Pointers of SQLite's, which is C that was translated, are not checked: that takes a fifth of the time. (What is not
# instrumented at all hides from the detector the order that its atomics make, and races are found that are none.)
RACE := $(GO) test -vet=off -parallel 4 -race -gcflags='modernc.org/...=-d=checkptr=0' -short
# In the order of their imports.
PROTOS := wire account chat room social group moment file core

.DEFAULT_GOAL := help
.PHONY: help run cluster test vet unit production race watched check format generated gen fuzz bench benchmarks

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start edge and core in one process, with their stores in ./data
	@mkdir -p data/bin
	$(GO) build -o data/bin/edge ./edge
	@exec data/bin/edge -config conf/embedded.yaml

cluster: ## start 2 edges and 2 cores over MariaDB, a Redis Cluster and etcd, all in ./data/cluster
	@mkdir -p data/bin
	$(GO) build -o data/bin/bench ./bench
	@exec data/bin/bench cluster

test: ## run every test: vet, unit, scenarios, browser, production stores, race detector
	@.ci/tools
	@failed=; for step in vet unit '-j 2 production watched' race; do \
		$(MAKE) --no-print-directory --keep-going $$step || failed="$$failed $$step,"; \
	done; test -z "$$failed" || { echo "failed:$$failed see above"; exit 1; }

vet:
	$(GO) vet ./...

unit: ## run every test once, without the race detector
	$(GO) test -vet=off $(BESIDE) -timeout 15m ./...

production: ## run the plugins' tests on MySQL and Redis, which they start
	FREEIM_TEST_STORES=production $(GO) test -vet=off $(BESIDE) -timeout 9m ./plugins/... ./core/plugin/...

race: ## run the unit tests under the race detector
	@if $(GO) env CGO_ENABLED | grep -q 1; then set -x; $(RACE) -timeout 12m $(WATCHED); \
	else echo "SKIPPED: race detector: it needs a C compiler"; fi

# Builds what race runs, beside tests that wait for databases, of processor time that they leave. What fails, race tells.
watched:
	@nice -n 19 $(RACE) -run '^$$' $(WATCHED) >/dev/null 2>&1 || true

check: format vet generated ## check format, vet, modern Go, generated code and the repository's rules
	$(GO) fix -diff ./...
	$(GO) test -count=1 ./bench/rules

format:
	@wrong=$$(gofmt -l -s bench conf core edge idl plugins scripts); \
	if [ -n "$$wrong" ]; then echo "gofmt -s -w is needed for:"; echo "$$wrong"; exit 1; fi

gen: ## generate idl/kitex_gen from the .proto files, and what describes the API of scripts
	@rm -rf idl/kitex_gen
	@for proto in $(PROTOS); do \
		said=$$($(GO) tool kitex -type protobuf -module freeim -gen-path idl/kitex_gen -I idl idl/$$proto.proto 2>&1) || \
			{ echo "$$said"; exit 1; }; \
	done
	@$(GO) run ./scripts/stubs scripts

# Generates a second time in a directory of its own and compares.
generated:
	@set -e; beside=$$(mktemp -d); trap 'rm -rf "$$beside"' EXIT; \
	cp -R go.mod go.sum Makefile idl scripts "$$beside"; \
	$(MAKE) --no-print-directory -C "$$beside" gen; \
	diff -r "$$beside/idl" idl && diff -r "$$beside/scripts" scripts || \
		{ echo "what is generated is not that of the .proto files and the API's table: make gen"; exit 1; }

fuzz: ## fuzz every decoder for 30 s each (FUZZTIME=5m: longer)
	@set -e; grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | \
	sed -E 's|^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]+).*|\1 \2|' | while read -r dir name; do \
		(set -x; $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(or $(FUZZTIME),30s) "$$dir"); \
	done

bench: ## measure everything at a small size, on real servers, in five minutes: data/bench/tour.html
	@mkdir -p data/bin data/bench
	$(GO) build -o data/bin/bench ./bench
	@exec data/bin/bench tour -png -out data/bench/tour.json

benchmarks: ## run the benchmarks beside the code
	$(GO) test -run '^$$' -bench . -benchmem ./...
