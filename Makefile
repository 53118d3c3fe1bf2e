# Bare `make` lists the targets. Everything a target needs it installs itself,
# on a Debian with Go, Node 20 and npm.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BENCHSTAT := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
CHROMIUM  ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
APT_GET   := $(if $(filter 0,$(shell id -u)),,sudo) DEBIAN_FRONTEND=noninteractive apt-get
WASM_EXEC := $(shell go env GOROOT)/lib/wasm/go_js_wasm_exec
FUZZTIME  ?= 20s

# What also runs as WebAssembly; a folder of the operating system does not.
WASM_TESTED := ./kv ./kv/base ./kv/batch ./kv/iterator ./kv/manifest ./kv/memtable ./kv/sst ./kv/vfs ./kv/volume ./kv/wal
PORT      ?= 0

GO_SOURCES   := go.mod go.sum $(shell find kv wasm -name '*.go' -not -name '*_test.go')
JS_SOURCES   := js/package-lock.json js/tsconfig.json js/build.mjs js/test/internal.ts $(shell find js/src -type f)
ROUTER_SOURCES := go.mod go.sum workers/router.mjs wasm/pack.mjs wasm/strip.mjs $(shell find workers kv/base kv/batch kv/iterator -name '*.go' -not -name '*_test.go')
SITE_SOURCES := site/package-lock.json $(shell find site -name dist -prune -o -name node_modules -prune -o -type f -print)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.PHONY: demo
demo: site ## build everything, serve the demo on 127.0.0.1 and print its address
	node site/serve.mjs --port $(PORT)

.PHONY: build
build: js/dist/index.js ## the npm package, in js/dist

.PHONY: wasm
wasm: build/tempestkv.wasm build/tempestkv-tools.wasm ## the engine alone, as build/tempestkv.wasm

.PHONY: site
site: site/dist/index.html ## the demo site, in site/dist

# Packages in which not inlining saves 16 kB of gzip, and no call gets slower by
# it. In kv it would save 4 kB and make a get a tenth slower.
COLD := tempestkv/kv/manifest tempestkv/kv/rangedel tempestkv/kv/volume tempestkv/wasm

build/tempestkv.wasm: $(GO_SOURCES) wasm/slim.mjs wasm/pack.mjs wasm/strip.mjs
	node wasm/slim.mjs build/slim.mod
	GOOS=js GOARCH=wasm go build -modfile=build/slim.mod -trimpath -ldflags='-s -w' $(COLD:%=-gcflags='%=-l') -o build/engine.wasm ./wasm
	node wasm/pack.mjs build/engine.wasm $@

# The engine with what a page only loads to import a LevelDB folder, to export a
# store as one, or to repair a store.
build/tempestkv-tools.wasm: build/tempestkv.wasm
	GOOS=js GOARCH=wasm go build -modfile=build/slim.mod -tags=tools -trimpath -ldflags='-s -w' $(COLD:%=-gcflags='%=-l') -o build/tools.wasm ./wasm
	node wasm/pack.mjs build/tools.wasm $@

.PHONY: workers
workers: build/router/router.mjs ## the router Worker, in build/router, and its size
	node workers/size.mjs

build/router/router.mjs: $(ROUTER_SOURCES)
	go run github.com/syumai/workers/cmd/workers-assets-gen -mode=go -o build/router
	GOOS=js GOARCH=wasm go build -trimpath -ldflags='-s -w' -o build/router.wasm ./workers
	node wasm/pack.mjs build/router.wasm build/router/app.wasm
	cp workers/router.mjs $@

workers/test/node_modules/.package-lock.json: workers/test/package.json workers/test/package-lock.json
	npm ci --prefix workers/test --no-audit --no-fund
	touch $@

js/node_modules/.package-lock.json: js/package.json js/package-lock.json
	npm ci --prefix js --no-audit --no-fund
	touch $@

site/node_modules/.package-lock.json: site/package.json site/package-lock.json
	npm ci --prefix site --no-audit --no-fund
	touch $@

interop/node_modules/.package-lock.json: interop/package.json interop/package-lock.json
	npm ci --prefix interop --no-audit --no-fund
	touch $@

js/test/workers/node_modules/.package-lock.json: js/test/workers/package.json js/test/workers/package-lock.json
	npm ci --prefix js/test/workers --no-audit --no-fund
	touch $@

js/dist/index.js: build/tempestkv.wasm build/tempestkv-tools.wasm js/node_modules/.package-lock.json $(JS_SOURCES)
	npm run --prefix js build
	touch $@

site/dist/index.html: js/dist/index.js site/node_modules/.package-lock.json $(SITE_SOURCES)
	node site/build.mjs
	touch $@

.PHONY: test
test: check test-go test-interop test-wasm test-js test-workers test-router test-browser size ## everything CI runs

.PHONY: check
check: js/dist/index.js ## formatting, vet, modules, builds for every target, types
	@test -z "$$(gofmt -l kv wasm workers cmd site interop)" || { gofmt -l kv wasm workers cmd site interop; exit 1; }
	go mod tidy -diff
	go vet ./...
	GOOS=js GOARCH=wasm go vet ./...
	GOOS=js GOARCH=wasm go vet -tags=tools ./wasm
	go build ./...
	npm run --prefix js check

# The race detector needs a C compiler.
.PHONY: gcc
gcc:
ifeq ($(shell command -v gcc),)
	$(APT_GET) update -qq
	$(APT_GET) install -y -qq gcc libc6-dev
endif

.PHONY: test-go
test-go: gcc ## the engine's tests, with the race detector
	go test -race ./...

.PHONY: zip
zip:
ifeq ($(and $(shell command -v zip),$(shell command -v unzip)),)
	$(APT_GET) update -qq
	$(APT_GET) install -y -qq zip unzip
endif

.PHONY: test-interop
test-interop: zip js/dist/index.js interop/node_modules/.package-lock.json ## LevelDB itself reads what we write, and we what it writes
	npm test --prefix interop

.PHONY: test-wasm
test-wasm: ## the bridge's and the engine's tests as WebAssembly, under Node
	GOOS=js GOARCH=wasm go test -exec='node $(CURDIR)/wasm/testdata/exec.mjs' ./wasm
	GOOS=js GOARCH=wasm go test -tags=tools -exec='node $(CURDIR)/wasm/testdata/exec.mjs' ./wasm
	GOOS=js GOARCH=wasm go test -exec='$(WASM_EXEC)' $(WASM_TESTED)
	node --test wasm/

.PHONY: test-js
test-js: js/dist/index.js ## the package's tests in Node
	npm test --prefix js

.PHONY: test-workers
test-workers: js/dist/index.js js/test/workers/node_modules/.package-lock.json ## the package in Cloudflare's runtime, restarts and kills included
	npm test --prefix js/test/workers

.PHONY: test-router
test-router: js/dist/index.js build/router/router.mjs workers/test/node_modules/.package-lock.json ## the router and the example Worker in Cloudflare's runtime
	npm test --prefix workers/test
	node workers/size.mjs

.PHONY: chromium
chromium:
ifeq ($(CHROMIUM),)
	$(APT_GET) update -qq
	$(APT_GET) install -y -qq chromium
endif

.PHONY: test-browser
test-browser: chromium site build/router/router.mjs workers/test/node_modules/.package-lock.json ## the package, crashes and the demo site in Chromium
	npm run --prefix js test:browser
	npm test --prefix site

.PHONY: bench
bench: chromium js/dist/index.js ## against IndexedDB and idb-keyval in Chromium, and the engine natively
	npm ci --prefix bench --no-audit --no-fund
	node bench/bench.mjs
	go test -run='^$$' -bench=. -benchmem -count=6 ./kv | tee build/bench.txt
	go run $(BENCHSTAT) build/bench.txt

.PHONY: bench-engine
bench-engine: ## the engine against goleveldb and Pebble, natively and as WebAssembly
	node bench/engine/run.mjs
	go run $(BENCHSTAT) -col /store -row /op build/engine-native.txt
	go run $(BENCHSTAT) -col /store -row /op build/engine-wasm.txt

.PHONY: size
size: js/dist/index.js ## what a page downloads; fails over its budget
	node js/size.mjs

# Minimising the large seeds of some targets would take all of the time.
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME
	@for p in $$(go list ./kv/... ./workers/...); do \
	  for t in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    go test -run='^$$' -fuzz="^$$t\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=20x $$p; \
	  done; \
	done

.PHONY: soak
soak: ## what takes longer: many more model checks, crashes and fuzzing
	go test ./kv -run 'PowerLoss|Crash|Fault|Flipped' -crashseeds 40 -timeout 30m
	for p in $$(grep -rl --include=*_test.go pgregory.net/rapid kv | xargs -n1 dirname | sort -u); do \
	  go test ./$$p -rapid.checks 2000 -timeout 30m; \
	done
	$(MAKE) fuzz FUZZTIME=60s
	$(MAKE) soak-browser

# Five million rows take some minutes and 1.5 GB of disk.
.PHONY: soak-browser
soak-browser: chromium js/dist/index.js ## a store of 5,000,000 rows in Chromium: memory, size, latency
	node js/test/soak/large.mjs

.PHONY: clean
clean: ## remove what was built
	rm -rf build js/dist site/dist js/node_modules site/node_modules bench/node_modules interop/node_modules js/test/workers/node_modules workers/test/node_modules
