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
# # 3. A data set and a small network, in minutes
#
# Crystals are drawn from a *recipe*: a distribution of lattices, shapes, sizes, defects, strain and photons, the same
# for every class so that nothing but the defect carries the label. A network learns from them, gets calibrated on
# crystals of their own, and is asked about crystals that neither has seen. On two cores this takes about five
# minutes; with `CDI_NOTEBOOKS_QUICK=1` seconds, and then it learns nothing.

# %%
import csv
import os
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from cdi.picture import draw_intensity_slice
from data.dataset import StoredSamples
from data.generation import generate
from data.recipe import Recipe
from data.sampling import draw_samples
from models.config import NetworkConfig
from models.predictor import Predictor
from training.config import TrainConfig
from training.run import train

QUICK = bool(os.environ.get("CDI_NOTEBOOKS_QUICK"))
SIDE, CRYSTALS, HELD_OUT, MINUTES = (16, 24, 8, 1.0) if QUICK else (24, 1600, 200, 4.0)
torch.set_num_threads(1 if QUICK else os.cpu_count() or 1)

# %% [markdown]
# ## The recipe, and the data set that it makes
#
# The same as `cdi generate RECIPE.yaml --output DIR`. A sample depends on the recipe, the seed and its index alone:
# run it again, on other cores, and every file is the same. Stopped, it goes on where it was.

# %%
recipe = Recipe(
    "notebook", samples=CRYSTALS, seed=5, samples_per_file=8 if QUICK else 100, shape=(SIDE,) * 3,
    elements=("Cu", "Au"), crystal_shapes=("truncated-octahedron", "polyhedron"), diameter_A=(100.0, 1000.0),
    class_fractions=(0.5, 0.17, 0.17, 0.16), max_lines=1, hidden_fraction=0.0, strain_rad=(0.0, 0.5),
    peak_counts=(1e4, 1e6),
)  # fmt: skip
dataset = generate(recipe, "crystals", processes=1 if QUICK else os.cpu_count() or 1, progress=not QUICK)
samples = StoredSamples(dataset)
print(f"{len(samples)} exposures in {dataset}")
figure, axes = plt.subplots(2, 4, figsize=(12, 6), layout="constrained")
for panel, sample in zip(axes.flat, (samples[n] for n in range(8)), strict=True):
    image = draw_intensity_slice(panel, sample.exposure.counts, (0, 1), grid=sample.exposure.grid)
    windings = [f"{line.g_dot_b:+.0f}" for line in sample.truth.lines]
    panel.set_title(f"{sample.truth.defect}" + (f", g·b = {', '.join(windings)}" if windings else ""))

# %% [markdown]
# ## Training
#
# `cdi train CONFIG.yaml --output DIR` does the same. The last crystals of the data set are kept aside: some to watch
# the loss, some to calibrate the confidence. Killed, the same cell goes on after the last whole epoch.

# %%
network = NetworkConfig(
    design="tokens", shape=(SIDE,) * 3, width=8 if QUICK else 16, token_dim=16 if QUICK else 48,
    layers=1 if QUICK else 2, heads=2, dropout=0.1,
)  # fmt: skip
config = TrainConfig(
    "notebook", recipe, dataset=str(dataset), reflections=(1,), network=network,
    validation_samples=4 if QUICK else 96, calibration_samples=4 if QUICK else 128, epochs=2 if QUICK else 60,
    batches_per_epoch=2 if QUICK else 40, batch_size=4 if QUICK else 24, warmup_steps=1 if QUICK else 40, workers=0,
    minutes=MINUTES, learning_rate=2e-3,
)  # fmt: skip
weights = train(config, Path("run"))
rows = [row for path in sorted(Path("run/log").glob("version_*/metrics.csv")) for row in csv.DictReader(path.open())]
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name in ("train/loss", "validation/loss"):
    found = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
    if found:
        axes.plot(*zip(*found, strict=True), "o-", ms=3, label=name)
axes.set(xlabel="step", ylabel="loss")
axes.legend()
print(f"trained: {weights}, {weights.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## What it says of crystals that it has never seen
#
# Drawn from behind the last index of the data set: no slice, rotation or re-exposure of a training crystal is among
# them.

# %%
unseen = [draw_samples(replace(recipe, first_index=10_000), n)[0] for n in range(HELD_OUT)]
predictor = Predictor.load(weights, "cpu")
answers = [
    answer for n in range(0, HELD_OUT, 16) for answer in predictor.predict([s.exposure for s in unseen[n : n + 16]])
]
truth = np.array([bool(sample.truth.lines) for sample in unseen])
probability = np.array([answer.defect_probability for answer in answers])
undetermined = np.array([bool(answer.undetermined) for answer in answers])
if 0 < truth.sum() < len(truth):
    print(f"defect or none, AUROC: {roc_auc_score(truth, probability):.3f} (0.5 is a guess)")
right = (probability > 0.5) == truth
if (~undetermined).any():
    print(f"{(~undetermined).mean():.0%} answered, {right[~undetermined].mean():.0%} of those right")
print(f"of all, {right.mean():.0%} right; always the more frequent answer: {max(truth.mean(), 1 - truth.mean()):.0%}")
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.hist([probability[~truth], probability[truth]], bins=np.linspace(0, 1, 11), label=["perfect", "with a line"])
axes.set(xlabel="P(defect)", ylabel="crystals")
axes.legend()

# %% [markdown]
# What such a network has learned in minutes is little, and much of it may be the *shortcut* that a radial profile of
# the pattern holds as well. `cdi baselines` trains what a network must beat, `cdi tiers` makes the frozen test sets,
# `cdi evaluate` compares. The configurations of the shipped network are in `examples/train-*.yaml`.
