# Every target installs what it needs first (setup). `make demo` runs the main job,
# `make test` the tests; see README.md.

PACKAGES = pcscd libpcsclite-dev vsmartcard-vpcd swtpm swtpm-tools libssl-dev pkg-config gcc
SUDO     = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
GOLANGCI = go tool -modfile=.ci/tools/go.mod golangci-lint
# The parts that do things in parallel; the race detector runs over these.
PARALLEL = ./card/... ./tpm ./flows/...
# Seconds of fuzzing for each package, which its targets share.
FUZZTIME = 60
# How many points the chaos test kills at: more than there are.
CHAOS    = 420
# What git says of this tree; empty where it is no clone, as in an unpacked archive.
VERSION  = $(shell [ -e .git ] && git describe --always --tags --dirty 2>/dev/null)

.PHONY: setup build demo test bench chaos fuzz lint

setup:
	@missing=""; for p in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "installing:$$missing"; \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

build: setup
	go build -ldflags '-X main.stamp=$(VERSION)' -o mcim ./cmd/mcim

demo: build
	./mcim demo --out demo

test: setup
	go vet ./...
	CGO_ENABLED=0 go build ./...
	go test -race $(PARALLEL)
	go test ./...

bench: setup
	go test -run '^$$' -bench . -benchmem ./... | .ci/benchtable

chaos: setup
	go test ./flows -run TestChaos -count=1 -timeout 60m -parallel 4 -v -args -chaos $(CHAOS)

fuzz: setup
	@for p in $$(go list ./...); do \
	  targets=$$(go test -list '^Fuzz' $$p | grep '^Fuzz'); \
	  for f in $$targets; do \
	    echo "$$p $$f"; \
	    go test -run '^$$' -fuzz "^$$f$$" -fuzzminimizetime 100x -fuzztime $$(($(FUZZTIME) / $$(echo $$targets | wc -w)))s $$p || exit 1; \
	  done; \
	done

lint: setup
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "gofmt: $$out"; exit 1; }
	$(GOLANGCI) run ./...
