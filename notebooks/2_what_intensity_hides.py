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
# # 2. What intensity hides
#
# A detector counts |F|², and several crystals have the same |F|²: shifted ones, those with another global phase, and
# the *twin*, s(−r) with −u(−r). A dislocation at r₀ with Burgers vector b along ξ has a twin at −r₀ with −b along the
# same ξ. Nobody can tell them apart, from this data, by any method; every score in this program is taken over that
# group.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from cdi.ambiguity import twin
from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.detector.counting import photon_counts
from cdi.fourier import amplitude_from_object
from cdi.grid import QGrid
from cdi.identifiability import identifiability
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure
from cdi.picture import draw_phase_slice
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.phase_retrieval import retrieve
from cdi.scattering.bragg_object import bragg_object
from cdi.scattering.object_amplitude import bragg_amplitude
from cdi.shapes.polyhedron import truncated_octahedron

torch.set_num_threads(1)

# %%
gold, upright, reflection = Lattice.of_material("Au"), np.eye(3), (1, 1, 1)
shape = truncated_octahedron(400, upright)
system = next(s for s in gold.slip_systems() if abs(np.dot(s.burgers, reflection)) > 0.5)


def crystal(point, sign=1):
    """The crystal with a mixed dislocation through `point`; `sign` −1: with −b along the same line."""
    line = dislocation_on(gold, system, character_deg=60, point=np.asarray(point, float), orientation=upright)
    if sign < 0:
        line = type(line)(-line.burgers, line.direction, line.normal, line.point, line.medium)
    return Crystal(gold, shape, upright, (line,))


place = np.array([90.0, -60.0, 40.0])
grid = QGrid.orthogonal(gold.reflection_vector(reflection), shape.extent(upright), 3.0, (32, 32, 32))


def intensity(of):
    return bragg_amplitude([of], [grid], [reflection])[0].abs().square().numpy()


def apart(one, other):
    """Σ|I − J| / ΣI of two patterns."""
    return np.abs(one - other).sum() / one.sum()


truth = intensity(crystal(place))
rows = {
    "the twin: −b at −r₀": intensity(crystal(-place, -1)),
    "b at −r₀": intensity(crystal(-place)),
    "−b at r₀": intensity(crystal(place, -1)),
}
for name, other in rows.items():
    print(f"{name:22s} differs from b at r₀ by {apart(truth, other):.1e}")

# %% [markdown]
# The twin is exact. The other two are different crystals, and their patterns differ: where a line lies and the sense
# of its b are told *together*, never one by one. For a line through the middle of a centrosymmetric crystal r₀ = −r₀,
# so b and −b are twins and the sign of b is gone (what is left below are the voxels on the line itself, where the
# phase has no value):

# %%
middle = (0, 0, 0)
print(f"b and −b through the middle differ by {apart(intensity(crystal(middle)), intensity(crystal(middle, -1))):.1e}")

# %% [markdown]
# ## Translation and global phase
#
# Moved by whole voxels, turned in phase, or twinned, an object keeps its |F|. Only mirrored, without the conjugate,
# it does not.

# %%
density = bragg_object([crystal(place)], [grid], [reflection]).density[0]
modulus = amplitude_from_object(density).abs().numpy()
images = {
    "moved by (2, −1, 1) voxels": torch.roll(density, (2, -1, 1), (0, 1, 2)),
    "turned by 1 rad": density * np.exp(1j),
    "twin": twin(density),
    "inverted, not conjugated": twin(density).conj(),
}
for name, image in images.items():
    print(f"{name:28s} |F| differs by {apart(modulus, amplitude_from_object(image).abs().numpy()):.1e}")
figure, axes = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained")
shown = {"the crystal": density, **{name: images[name] for name in ("moved by (2, −1, 1) voxels", "twin")}}
for panel, (name, image) in zip(axes, shown.items(), strict=True):
    draw_phase_slice(panel, image.angle().numpy(), image.abs().numpy(), (0, 1), voxel=grid.voxel)
    panel.set(title=name, xlim=(-300, 300), ylim=(-300, 300))

# %% [markdown]
# ## Which one does phase retrieval find?
#
# Either. Eight random starts on the same counted pattern, each held against the truth and its twin by the largest
# overlap over all shifts.

# %%
counts = photon_counts(truth, peak_counts=1e6, generator=np.random.default_rng(0))
found = retrieve(
    [Exposure(counts, grid)],
    RetrievalConfig("2x(HIO 60, ER 20)", starts=8, best=8),
    generator=torch.Generator().manual_seed(2),
)
full = torch.zeros(grid.shape, dtype=density.dtype)
full[8:24, 8:24, 8:24] = density


def overlap(one, other):
    """|⟨a, b⟩| at the best shift, normalised."""
    cross = torch.fft.ifftn(torch.fft.fftn(one).conj() * torch.fft.fftn(other)).abs().max()
    return float(cross / one.norm() / other.norm())


# %% [markdown]
# `retrieve` brings its runs together before it averages them, twins included, or the mean would be nonsense. So one
# twin is left in the answer, and a start that had found the other is turned over:

# %%
for name, image in {"the crystal": full, "its twin": twin(full)}.items():
    print(f"overlap of the answer with {name}: {overlap(torch.as_tensor(found.density[0]), image):.3f}")
print("overlap of each start with the best one:", np.round(found.overlap[0], 3))
alone = [
    retrieve(
        [Exposure(counts, grid)],
        RetrievalConfig("2x(HIO 60, ER 20)", starts=1, best=1),
        generator=torch.Generator().manual_seed(seed),
    )
    for seed in range(6)
]
nearest = [
    "twin"
    if overlap(torch.as_tensor(run.density[0]), twin(full)) > overlap(torch.as_tensor(run.density[0]), full)
    else "crystal"
    for run in alone
]
print("six starts, one by one, ended at:", ", ".join(nearest))

# %% [markdown]
# ## What several reflections add
#
# Each reflection has a phase of its own to lose, but translation and twin are **one** choice for all of them, because
# they are those of one crystal. And where one reflection leaves many Burgers vectors with the same g·b, three leave
# one.

# %%
for set_ in ([(1, 1, 1)], [(1, 1, 1), (2, 0, 0)], [(1, 1, 1), (-1, 1, 1), (1, -1, 1)]):
    told = identifiability(crystal(place), set_)
    line = told.lines[0]
    windings = np.round(line.windings).astype(int).tolist()
    print(f"{len(set_)} reflections: g·b = {windings}, {len(line.candidates)} Burgers vectors wind alike")
