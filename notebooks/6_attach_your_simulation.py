# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6. Attach a simulation of your own
#
# Three small files: a simulation in MPI, an analysis, a configuration. Six lines of the simulation couple it. Here
# heat diffuses on a torus that is split over the ranks; the analysis measures how rough the field is; a rule stops
# the run, on all ranks at the same step, once it is smooth. Replace `Heat` by your code and `roughness` by your
# question.

# %%
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

MPI_HERE = find_spec("mpi4py") is not None
print("MPI is here" if MPI_HERE else "skipped: no MPI here; pip install 'crystal-defects-insitu[mpi]'")

# %% [markdown]
# ## The simulation
#
# The one rule: it uses the communicator that it is given, never `COMM_WORLD`, which holds the ranks of the inference
# as well.

# %%
SIMULATION = '''
import sys

import numpy as np
from mpi4py import MPI

from inference_insitu import Variable, attach


class Heat:
    """64 rows of a torus on each rank."""

    def __init__(self, comm):
        self.comm = comm
        self.field = np.random.default_rng(comm.rank).random((64, 64))

    def advance(self):
        up, down = (self.comm.rank - 1) % self.comm.size, (self.comm.rank + 1) % self.comm.size
        above, below = np.empty(64), np.empty(64)
        self.comm.Sendrecv(np.ascontiguousarray(self.field[-1]), down, 0, above, up, 0)
        self.comm.Sendrecv(np.ascontiguousarray(self.field[0]), up, 1, below, down, 1)
        padded = np.vstack([above, self.field, below])
        sides = np.roll(self.field, 1, 1) + np.roll(self.field, -1, 1)
        self.field = self.field + 0.2 * (padded[:-2] + padded[2:] + sides - 4 * self.field)


variables = {"heat": Variable("float64", (64, 64))}                                              # 1
with attach(MPI.COMM_WORLD, "coupling.yaml", variables=variables, output=sys.argv[1]) as coupling:  # 2
    simulation = Heat(coupling.simulation_comm)                                                  # 3
    for step in range(20_000):
        simulation.advance()
        coupling.publish("heat", simulation.field, step)                                         # 4
        coupling.end_step(step)                                                                  # 5
        if any(command.name == "stop" for command in coupling.poll_steering()):                  # 6
            break
    if coupling.simulation_comm.rank == 0:
        print(f"ended after step {step}")
'''
Path("heat.py").write_text(SIMULATION)

# %% [markdown]
# ## The analysis and the configuration
#
# An analysis is a function of a frame, in any module that Python finds. `policy: latest` means that the simulation
# never waits: a frame that nobody had time for is replaced by a newer one, and the books say so.

# %%
ANALYSIS = '''
import numpy as np


def roughness(frame):
    """Root mean square of the steps between neighbouring columns."""
    return {"roughness": float(np.sqrt(np.mean(np.diff(frame.array, axis=1) ** 2)))}
'''
CONFIGURATION = """
streams:
  heat: {analysis: roughness, policy: {kind: latest}, steps: 4}
analyses:
  roughness: {plugin: "my_analysis:roughness", batch: {size: 8, delay_s: 0.005}}
placement: {kind: cores, ranks: 1}
steering:
  lag: 1
  rules:
    - {when: "roughness < 0.002", then: stop, hold: 3, once: true}
"""
Path("my_analysis.py").write_text(ANALYSIS)
Path("coupling.yaml").write_text(CONFIGURATION)

# %% [markdown]
# ## The run
#
# Two ranks simulate, one is given up for the inference. `python -m mpi4py` ends all ranks when one raises.

# %%
if MPI_HERE:
    launcher = Path(sys.executable).parent / "mpiexec"
    paths = os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])])
    ran = subprocess.run(
        [str(launcher), "-n", "3", sys.executable, "-m", "mpi4py", "heat.py", "run"],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    print(ran.stdout.strip() or ran.stderr[-2000:])
    ran.check_returncode()

# %% [markdown]
# ## What it leaves
#
# The answers as JSON lines, the account of every frame, what was steered and why. Frames that were replaced before
# anybody read them are no fault: the step of a 64 × 64 field takes less time than an answer.

# %%
if MPI_HERE:
    from inference_insitu.watching.account import account, described
    from inference_insitu.watching.answers_files import read_answers

    print(described(account("run")))
    series = next(s for s in read_answers("run").series if s.name == "roughness")
    order = np.argsort(series.step)
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    axes.loglog(1 + series.step[order], series.value[order], ".", ms=4, label="answers of both ranks")
    axes.axhline(0.002, color="tab:red", ls="--", label="the rule: below, three times, then stop")
    axes.set(xlabel="step + 1", ylabel="roughness")
    axes.legend()
    for line in Path("run/steering.jsonl").read_text().splitlines():
        told = json.loads(line)
        print({key: told[key] for key in list(told)[:6]})

# %% [markdown]
# ## From here
#
# C and Fortran attach by the same six calls (`docs/c_abi.md`); arrays on a GPU are published as they are; other
# placements put the inference on other nodes or into a job of its own (`docs/coupling.md`). To ask the network
# instead of a function of yours: `plugin: defects`, and publish patterns. `cdi doctor` says what a machine can do.
