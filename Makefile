# The few commands of this project. Each uses Go, or a tool that Go builds from
# the versions in .ci/tools.mod; that file is apart from go.mod so that programs
# which import the package service need not know of our tools.

TOOL      = go tool -modfile=.ci/tools.mod
COUNT    ?= 5
KILLS    ?= 50
SEED     ?=
STEPS    ?= 200
WORLD    ?=
FUZZTIME ?= 5m
BENCH    ?= .
UPGRADES ?= 25
RATE     ?= 1000
REQUESTS ?= 1000000
ROW      ?= 10000
OUT      ?= bin
FAULT    ?=
PHASE    ?=
DEMO     ?= --upgrades 20 --rate 1000

# SCALE runs tests that write their figures into docs/scale.md.
SCALE = SUPERVISOR_SCALE_DOCS="$(CURDIR)/docs" go test -count=1 -v

.PHONY: help test race kills chaos endurance million scale fuzz corpus bench demo cover lint planted-bugs programs faults compare

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

test: ## all tests, with the race detector
	@# A slow machine may take longer than the ten minutes that go test allows.
	go test -race -timeout 30m $$(go list ./... | grep -v -e /cmd/supervisor$$ -e /internal/chaos$$ -e /internal/faults$$ -e /internal/compare$$ -e /internal/scale$$)
	@# One after the other: they watch accept queues of real processes, and what runs beside makes them stand.
	SUPERVISOR_TEST_KILLS=50 go test -race -p 1 -timeout 30m ./cmd/supervisor ./internal/chaos ./internal/faults ./internal/compare ./internal/scale
	@# A module of its own, so that gRPC is none that package service brings along.
	cd examples/grpc && go vet ./... && go test -race ./...
	@# Under the race detector this one visits a part of the states only.
	go test -run TestEveryReachableStateIsSafeAndLive ./upgrade

race: ## all tests COUNT times (5) in random order, to find what happens rarely
	go test -race -shuffle=on -count=$(COUNT) ./...

kills: ## kill -9 supervisors under load KILLS times (50), as SEED draws it
	SUPERVISOR_TEST_KILLS=$(KILLS) SUPERVISOR_TEST_SEED=$(SEED) go test -race -count=1 -v -timeout 1h -run TestFiftyKills ./cmd/supervisor

chaos: ## STEPS (200) of overlapping deeds, good and bad, done to a supervisor under load, as SEED draws them
	SUPERVISOR_TEST_STEPS=$(STEPS) SUPERVISOR_TEST_SEED=$(SEED) go test -race -count=1 -v -timeout 3h -run '^TestChaos$$/$(subst $() ,_,$(WORLD))' ./internal/chaos

endurance: ## ROW upgrades (10,000), one each 100 ms, under 1,000 requests a second; then replacements of the supervisor: nothing grows
	SUPERVISOR_SCALE_UPGRADES=$(ROW) $(SCALE) -timeout 2h -run '^TestUpgradesInARow$$' ./internal/scale
	SUPERVISOR_ENDURANCE=1 go test -count=1 -timeout 30m -run '^TestEndurance$$' -v ./cmd/supervisor

million: ## REQUESTS (1,000,000) with an upgrade each second: none fails
	SUPERVISOR_SCALE_REQUESTS=$(REQUESTS) $(SCALE) -timeout 1h -run '^TestMillion$$' ./internal/scale

scale: ## what 1,000 listeners and 50,000 connections cost, into docs/scale.md
	SUPERVISOR_SCALE=1 $(SCALE) -timeout 1h -run '^TestGrowth' ./internal/scale

fuzz: ## fuzz every target for FUZZTIME (5m)
	.ci/fuzz $(FUZZTIME)

corpus: ## keep the fewest of the inputs that fuzzing has found which reach what all of them reach
	go run ./internal/corpus

bench: ## benchmarks that match BENCH (.)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

programs: ## upgrade programs of Debian's UPGRADES times (25) each, and by their own means, and print the figures
	SUPERVISOR_TEST_UPGRADES=$(UPGRADES) go test -count=1 -v -timeout 30m -run '^(TestPrograms|TestFinalStop)$$' ./internal/programs

faults: ## have real processes fail in every way in every phase, under load, and write docs/faults.md; FAULT=regexp PHASE=regexp: those cells, no page
	SUPERVISOR_TEST_FAULTS=all SUPERVISOR_TEST_FAULT='$(FAULT)' SUPERVISOR_TEST_PHASE='$(PHASE)' go test -count=1 -v -timeout 1h -run '^TestFaults$$' ./internal/faults

compare: ## this project beside its peers: UPGRADES (25) each at RATE (1000) connections/s, and bad versions, into docs/comparison.md
	SUPERVISOR_COMPARE="$(CURDIR)/docs/comparison.md" SUPERVISOR_COMPARE_UPGRADES=$(UPGRADES) SUPERVISOR_COMPARE_RATE=$(RATE) \
		go test -count=1 -timeout 1h -v -run '^TestComparison$$' ./internal/compare

demo: ## upgrade a built-in service under load and show what its clients saw
	go run ./cmd/supervisor demo $(DEMO)

cover: ## coverage of all tests, per function, and OUT/cover.html
	@mkdir -p $(OUT)
	go test -coverpkg=./... -coverprofile=$(OUT)/cover.out ./...
	go tool cover -html=$(OUT)/cover.out -o $(OUT)/cover.html
	go tool cover -func=$(OUT)/cover.out

lint: ## staticcheck
	$(TOOL) staticcheck ./...
	$(TOOL) staticcheck -tags planted ./upgrade
	staticcheck="$$($(TOOL) -n staticcheck)" && cd examples/grpc && "$$staticcheck" ./...

planted-bugs: ## plant bugs in the machine, one at a time, and expect its tests to find each
	@# Each is a build and an exploration: a slow machine takes longer than the ten minutes that go test allows.
	go test -count=1 -timeout 30m -tags planted -run TestPlantedBugs -v ./upgrade
