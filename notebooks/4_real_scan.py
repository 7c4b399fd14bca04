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
# # 4. A real scan, from raw frames to an answer
#
# A gold (111) rocking curve measured at beamline 34-ID-C of the Advanced Photon Source: 201 TIFF frames and a SPEC
# file. They are looked for in `$CDI_SHARED/real/34idc-gold-scan54`, or in `../shared/real` beside the repository;
# without them this notebook says so and does nothing. Put a scan of your own there, or change `SCAN`.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import cdi

QUICK = bool(os.environ.get("CDI_NOTEBOOKS_QUICK"))
ROOT = Path(cdi.__file__).parents[1]
SCAN = Path(os.environ.get("CDI_SHARED", ROOT.parent / "shared")) / "real" / "34idc-gold-scan54" / "frames"
HERE = SCAN.is_dir()
torch.set_num_threads(1 if QUICK else os.cpu_count() or 1)
print(f"frames: {SCAN}" if HERE else f"skipped: no frames in {SCAN}; set CDI_SHARED to the folder that holds real/")

# %% [markdown]
# ## The frames
#
# One frame is a plane through the pattern on the Ewald sphere; rocking the crystal stacks them.

# %%
if HERE:
    from tifffile import imread

    files = sorted(SCAN.glob("*.tif"))
    stack = np.stack([imread(file) for file in files])
    total = stack.sum((1, 2))
    middle = int(total.argmax())
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.imshow(np.log10(stack[middle] + 1), cmap="inferno")
    left.set_title(f"frame {middle} of {len(files)}, log counts")
    right.semilogy(total)
    right.set(xlabel="frame", ylabel="counts of a frame", title="rocking curve")

# %% [markdown]
# ## Counts with a geometry
#
# `read_exposure` knows the format by its content, finds the SPEC file beside the frames and the scan's number in
# their names, and turns angles, energy and detector distance into scattering vectors. The length of the mean one says
# which lattice planes these are: gold (111) has d = 2.355 Å. What headers and frames contradict each other in is told
# as a warning.

# %%
if HERE:
    from cdi.picture import draw_pattern
    from cdi.retrieval.framing import framed
    from data.formats.pattern_files import read_exposure

    exposure = read_exposure(SCAN)
    peak = (
        np.array(np.unravel_index(exposure.counts.argmax(), exposure.counts.shape))
        - np.array(exposure.counts.shape) // 2
    )
    Q = exposure.grid.centre + peak @ exposure.grid.step
    print(f"counts {exposure.counts.shape}, brightest voxel {exposure.counts.max():.0f}")
    print(f"spacing of the planes: d = {2 * np.pi / np.linalg.norm(Q):.3f} Å")
    side = 48 if QUICK else 64
    small = framed(exposure, (side,) * 3)
    sizes = np.linalg.norm(small.grid.voxel, axis=1)
    print(f"binned and cropped around the peak to {small.counts.shape}; voxels of {np.round(sizes / 10, 1)} nm")
    draw_pattern(plt.figure(figsize=(11, 3.6), layout="constrained"), small.counts, grid=small.grid, unit="photons")

# %% [markdown]
# ## What the network says
#
# In one call, seconds after the last frame. `cdi predict FRAMES --element Au --reflections "1 1 1" --report
# answer.html` writes the same with quality, pictures and alternatives. The model `searched` phases the pattern itself
# before it answers. **Be warned**: it is small and was trained on simulated crystals; of this scan it says
# *undetermined* and traces no line (README, "What it reaches").

# %%
if HERE:
    from models.predictor import Predictor

    (answer,) = Predictor.load("searched", device="cpu").predict([exposure])
    print(f"P(defect) = {answer.defect_probability:.2f}, class {answer.defect_class}, {answer.count} lines traced")
    print(f"undetermined: {answer.undetermined or 'no'}")

# %% [markdown]
# ## What phase retrieval says
#
# The density behind the pattern, from several random starts, chosen by voxels that were held out. Then the lines
# about which its phase winds: none, this particle has no dislocation that (111) sees.

# %%
if HERE:
    from cdi.picture import PLANES, draw_phase_slice
    from cdi.retrieval.config import RetrievalConfig
    from cdi.retrieval.phase_retrieval import retrieve
    from cdi.retrieval.vortex_lines import vortex_lines

    schedule, starts = ("2x(HIO 60, ER 20)", 1) if QUICK else (RetrievalConfig().schedule, 4)
    found = retrieve(
        [small], RetrievalConfig(schedule, starts=starts, best=1), generator=torch.Generator().manual_seed(0)
    )
    lines = vortex_lines(found.density[0], found.support[0], voxel=small.grid.voxel)
    print(f"misfit {found.error[0, found.kept[0, 0]]:.4f}; vortex lines in the core: {len(lines)}")
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for panel, plane in zip(axes, PLANES, strict=True):
        draw_phase_slice(panel, np.angle(found.density[0]), found.support[0], plane, voxel=small.grid.voxel)
    figure.suptitle("phase G·u of the retrieved particle")

# %% [markdown]
# ## In three dimensions
#
# The particle's surface with the phase on it; `cdi view FILE --output page.html` makes a page that can be turned.

# %%
if HERE:
    try:
        from cdi.drawn_crystal import DrawnCrystal
        from cdi.picture3d import crystal_figure
        from cdi.surface import isosurface

        modulus = np.abs(found.density[0]) * found.support[0]
        surface = isosurface(
            modulus, 0.3 * np.quantile(modulus[found.support[0]], 0.9), small.grid.voxel, np.angle(found.density[0])
        )
        display(crystal_figure(DrawnCrystal("gold, 34-ID-C scan 54", {"1 1 1": surface})))  # noqa: F821 (a notebook's own)
    except ImportError as missing:
        print(missing)
