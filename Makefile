# Two commands: `make demo` and `make test`. Both set everything up; both are quick the second time.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT := output
# Files of tests run beside each other. Three at most: those that start MPI take several cores themselves.
TEST_PROCESSES ?= $(shell n=$$(nproc 2>/dev/null || echo 1); [ $$n -gt 3 ] && echo 3 || echo $$n)

.PHONY: demo transit-demo test test-slow test-transit engines lint format bench setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt scripts/setup.sh
	bash scripts/setup.sh $(VENV)
	@touch $@

demo: $(READY)
	bash scripts/demo.sh $(BIN) $(OUT)/demo

# LAMMPS runs while its inference moves to a stream engine and back. ENGINE=spark for the other one.
transit-demo: $(READY)
	bash scripts/transit_demo.sh $(VENV) $(OUT)/transit-demo $(ENGINE)

test: lint
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

bench: $(READY)
	$(BIN)/python benchmarks/recognition.py
	$(BIN)/python benchmarks/designs.py
	$(BIN)/python benchmarks/consistency.py
	$(BIN)/python benchmarks/answer_speed.py
	$(BIN)/python benchmarks/training_throughput.py
	$(BIN)/python benchmarks/scattering.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/retrieval.py
	$(BIN)/python benchmarks/insitu.py
	$(BIN)/python benchmarks/coupling.py
	$(BIN)/python benchmarks/coupling_scaling.py

clean:
	rm -rf $(VENV) $(OUT)
