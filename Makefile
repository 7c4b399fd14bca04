# Two commands: `make demo` and `make test`. Both set everything up; both are quick the second time.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT := output
# Files of tests run beside each other. Three at most: those that start MPI take several cores themselves.
TEST_PROCESSES ?= $(shell n=$$(nproc 2>/dev/null || echo 1); [ $$n -gt 3 ] && echo 3 || echo $$n)

# Images of containers set it, and each of the hundreds of processes that tests start would compile what it imports anew.
unexport PYTHONDONTWRITEBYTECODE

BENCHMARKS := recognition objects designs consistency answer_speed training_throughput scattering generation retrieval insitu coupling coupling_scaling sharing
BENCHMARKS_TRANSIT := transit_engines transit workflow learning_in_transit

.PHONY: demo transit-demo docs test test-quick test-slow test-transit engines lint format bench bench-transit setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt scripts/setup.sh
	bash scripts/setup.sh $(VENV)
	@touch $@

demo: $(READY)
	bash scripts/demo.sh $(BIN) $(OUT)/demo

# LAMMPS runs while its inference moves to a stream engine and back. ENGINE=spark for the other one.
transit-demo: $(READY)
	bash scripts/transit_demo.sh $(VENV) $(OUT)/transit-demo $(ENGINE)

# Beside each other: types take one core for as long as the tests' first minute.
test: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 lint test-quick

test-quick: $(READY)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --timeout 1800

# The stream engines' own environments, .engines/flink and .engines/spark.
engines: $(READY)
	bash scripts/engines.sh $(VENV)

test-transit: $(READY)
	$(BIN)/python -m pytest tests/inference_insitu/transit -m "slow or not slow" --timeout 1800

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation as a site in site/; a broken link is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "documentation: site/index.html"

# Their JSON lines are kept in benchmarks/records, of which the site makes its page of figures.
bench bench-transit: SHELL := bash
bench: NAMES := $(BENCHMARKS)
bench-transit: NAMES := $(BENCHMARKS_TRANSIT)
bench-transit: engines
bench bench-transit: $(READY)
	@mkdir -p benchmarks/records
	@set -eo pipefail; for name in $(NAMES); do \
	  echo "== $$name"; $(BIN)/python benchmarks/$$name.py | tee benchmarks/records/$$name.jsonl; \
	done

clean:
	rm -rf $(VENV) $(OUT) site
