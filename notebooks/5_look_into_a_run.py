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
# # 5. Look into an in situ run
#
# A copper nanoparticle is compressed in LAMMPS while a network reads its Bragg peak. This notebook opens what such a
# run leaves behind: the account of every frame, its latency, the answers over time. Set `CDI_RUN` to the folder of a
# run of yours, also of one that still runs or was killed; without it a small one is made here (a minute).

# %%
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display

import cdi

QUICK = bool(os.environ.get("CDI_NOTEBOOKS_QUICK"))
ROOT = Path(cdi.__file__).parents[1]
RUN = Path(os.environ.get("CDI_RUN", "compression"))
if not RUN.is_dir():
    # Quick: a few hundred atoms on one rank, whose core the network shares.
    shorter = ["load.steps=60", "coupling.every=20", "crystal.radius_A=12", "placement.kind=process"] if QUICK else []
    options = ["--config", str(ROOT / "examples" / "insitu-quick.yaml"), "--output", str(RUN)]
    options += ["--ranks", "1", "--no-dxa"] if QUICK else []
    ran = subprocess.run(
        [sys.executable, "-m", "cdi", "insitu", "run", *shorter, *options], capture_output=True, text=True, timeout=600
    )
    print("\n".join((ran.stderr if ran.returncode else ran.stdout).splitlines()[-5:]))
    ran.check_returncode()
print("\n".join(sorted(path.name for path in RUN.iterdir())))

# %% [markdown]
# ## The books
#
# Every frame that the simulation published has a row in a ledger, and the rows add up to the books: inferred, or
# dropped and why. `cdi insitu books RUN` says the same, with exit code 1 where they do not balance.

# %%
from inference_insitu.watching.account import account, described
from inference_insitu.watching.ledger_files import read_ledger

books = account(RUN)
print(described(books))
ledger = read_ledger(RUN)
answered = ledger.fate.where("inferred")
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(ledger.step[answered], 1e3 * ledger.latency_s[answered], "o-", ms=4)
axes.set(xlabel="step", ylabel="publish to answer (ms)", ylim=(0, None))
milliseconds = 1e3 * ledger.latency_s[answered]
print(f"latency: median {np.median(milliseconds):.0f} ms, largest {milliseconds.max():.0f} ms")

# %% [markdown]
# ## What was answered
#
# P(defect) over the steps, and the newest pattern with what the network sees in it. Open circles are answers that it
# does not stand by. *Does the simulation confirm it?* With `truth.dxa` OVITO finds the lines of the same steps.

# %%
from cdi.picture import draw_intensity_slice, draw_lines, draw_support_slice, support_points
from inference_insitu.inference.results import read_results

results = read_results(RUN)
steps = np.array([result.step for result in results])
probability = np.array([result.defect_probability for result in results])
unsure = np.array([result.undetermined for result in results])
newest = results[-1]
figure, axes = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
axes[0].plot(steps, probability, "-", color="tab:orange")
axes[0].scatter(
    steps, probability, facecolors=np.where(unsure[:, None], [1, 1, 1], [1, 0.5, 0]), edgecolors="tab:orange", zorder=3
)
axes[0].set(xlabel="step", ylabel="P(defect)", ylim=(-0.05, 1.05))
draw_intensity_slice(axes[1], newest.counts, (0, 1))
axes[1].set_title(f"pattern of step {newest.step}")
draw_support_slice(axes[2], newest.support, (0, 1), voxel=newest.voxel)
axes[2].set_title("predicted support")
lines = [np.array(line["points_A"]) for line in newest.prediction["lines"]]
if (newest.support > 0.5).sum() > 20:
    draw_lines(axes[3], lines, (0, 1), outline=support_points(newest.support, newest.voxel))
axes[3].set_title(f"{len(lines)} predicted lines")
for result in results[:: max(1, len(results) // 8)]:
    told = f"{result.defect_class}, {result.count} lines" + (" (undetermined)" if result.undetermined else "")
    print(f"step {result.step:>6}: P(defect) = {result.defect_probability:.2f}, {told}")

# %% [markdown]
# ## The run's own picture and summary
#
# Load, answers and truth in one. While a run lasts, `cdi insitu watch RUN` shows it in the terminal and `cdi insitu
# view RUN` in a browser; `cdi insitu report RUN` writes a page.

# %%
summary = RUN / "summary.json"
if summary.exists():
    told = json.loads(summary.read_text())
    print({key: told[key] for key in ("steps", "published", "inferred", "dropped", "added_step_time") if key in told})
picture = RUN / "insitu.png"
if picture.exists():
    display(Image(str(picture), width=1000))
