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
# # 7. From patterns to lattice positions
#
# Each reflection tells one component of the displacement, φ = G·u. Three that are not coplanar tell all of u, modulo
# lattice vectors; and a lattice moved by one of its own vectors is the same lattice. So three phases give the
# position of every lattice site with nothing left to unwrap, also beside a dislocation, where u itself has no
# continuous branch.
#
# Here: a copper crystal, its exact atoms, three counted patterns, phase retrieval with a common support, sites. And
# how far the sites are from the true ones.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.defects.smooth_strain import SmoothStrain
from cdi.defects.straight_dislocation import dislocation_on
from cdi.detector.counting import photon_counts
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure
from cdi.picture import draw_phase_slice
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.phase_retrieval import retrieve
from cdi.scattering.amplitude import amplitude
from cdi.shapes.polyhedron import Polyhedron
from models.lattice_sites import displacement, lattice_sites, reflections_fix_sites

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

# %% [markdown]
# ## The crystal and its three patterns
#
# A lopsided polyhedron (with an inversion centre the relative twin of two reflections would stay open), a 60°
# dislocation and a smooth strain. Patterns by a non-uniform FFT over every atom, photons counted.

# %%
copper = Lattice.of_material("Cu")
orientation = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()
reflections = [(1, 1, 1), (-1, 1, 1), (1, -1, 1)]
normals = [(1, 0, 0), (-1, 0.2, 0), (0, 1, 0.3), (0, -1, 0), (0, 0, 1), (0.3, 0, -1), (1, 1, 1), (-1, 1, 1)]
shape = Polyhedron.centred(normals, [25, 31, 28, 25, 30, 27, 35, 39])
system = copper.slip_systems()[0]
line = dislocation_on(copper, system, character_deg=60, point=np.array([5.0, -4.0, 3.0]), orientation=orientation)
strain = SmoothStrain(
    torch.tensor([[0.25, -0.1, 0.15]], dtype=torch.float64), torch.tensor([[0.03, 0.02, -0.025]], dtype=torch.float64),
    torch.tensor([0.4], dtype=torch.float64),
)  # fmt: skip
crystal = Crystal(copper, shape, orientation, (line, strain))
atoms = crystal.atoms()
grids = [
    QGrid.orthogonal(crystal.reflection_vector(hkl), shape.extent(np.eye(3)), 2.8, (32, 32, 32)) for hkl in reflections
]
generator = np.random.default_rng(1)
exposures = [
    Exposure(photon_counts(np.abs(amplitude(atoms, grid)) ** 2, peak_counts=1e6, generator=generator), grid)
    for grid in grids
]
print(f"{len(atoms)} atoms; the reflections fix every site: {reflections_fix_sites(copper, reflections)}")

# %% [markdown]
# ## Phases
#
# All three at once: one support, one translation, one twin.

# %%
found = retrieve(
    exposures,
    RetrievalConfig("3x(HIO 60, ER 20), ER 60", starts=3, best=1, shared_support=True),
    generator=torch.Generator().manual_seed(0),
)
support = found.support.any(0)
figure, axes = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained")
for panel, density, hkl in zip(axes, found.density, reflections, strict=True):
    draw_phase_slice(panel, np.angle(density), support, (0, 1), voxel=grids[0].voxel)
    panel.set_title("phase of " + " ".join(map(str, hkl)))
print("misfit of the best start:", np.round(found.error[:, found.kept[0, 0]], 4))

# %% [markdown]
# ## Sites
#
# `displacement` solves the three phases for u, `lattice_sites` gives R + u(R). Grids are centred on G, so the phase
# is G·u and nothing else. Solid is where the mean modulus is above half of its median.

# %%
modulus = np.abs(found.density).mean(0)
inside = support & (modulus > 0.5 * np.median(modulus[support]))
G = np.array([grid.centre for grid in grids])


def turned(volume):
    """`volume(−n)`, index N // 2 fixed."""
    return np.roll(volume[..., ::-1, ::-1, ::-1], (1, 1, 1), (-3, -2, -1))


def sites_of(densities, solid):
    u = displacement(densities, G, solid.astype(float))
    return lattice_sites(u, solid, grids[0].voxel, copper, orientation)


# Of the twin, s(−r) conjugated, in all three at once.
sites = {
    "as retrieved": sites_of(found.density, inside),
    "twin": sites_of(turned(found.density).conj(), turned(inside)),
}
print({name: len(points) for name, points in sites.items()})

# %% [markdown]
# ## How far off?
#
# Intensity hides where the crystal is, and which twin. Both are taken out here, once for the whole crystal: the rigid
# shift that leaves the least median distance to the true atoms, for either twin. What is left is the error.


# %%
def registered(points, true):
    """`points` moved rigidly onto `true`, and the distance of each to its nearest."""
    tree = cKDTree(true)
    offset = true.mean(0) - points.mean(0)
    corners = copper.constant * np.stack(np.meshgrid(*[np.arange(0, 1, 0.125)] * 3, indexing="ij"), -1).reshape(-1, 3)
    some = points[:: max(1, len(points) // 400)]
    start = min(corners, key=lambda shift: np.median(tree.query(some + offset + shift)[0])) + offset
    for _ in range(15):
        distance, nearest = tree.query(points + start)
        near = distance <= np.quantile(distance, 0.8)
        start = start + np.mean(true[nearest[near]] - (points + start)[near], axis=0)
    return points + start, tree.query(points + start)[0]


best, (placed, distance) = min(
    ((name, registered(points, atoms.positions)) for name, points in sites.items()),
    key=lambda entry: np.median(entry[1][1]),
)
ends = crystal.lines()[0].points
along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
from_line = np.linalg.norm(np.cross(placed - ends[0], along), axis=1)
depth = -shape.signed_distance(torch.as_tensor(placed)).numpy()
voxel = np.linalg.norm(grids[0].voxel, axis=1).mean()
good = (from_line > 2 * voxel) & (depth > voxel)
print(f"taken: {best}; voxels of {voxel:.1f} Å, {copper.constant / np.sqrt(2):.2f} Å between neighbours")
error = 100 * distance[good]
print(f"sites outside core and surface: {good.sum()}, rms error {np.sqrt(np.mean(error**2)):.0f} pm")
print(f"median error: {np.median(error):.0f} pm")
print(f"within 0.5 Å of a true atom: {np.mean(distance < 0.5):.3f} of all sites")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
across = np.abs(placed[:, 2]) < 2.0
dots = left.scatter(placed[across, 0], placed[across, 1], c=100 * distance[across], s=8, vmax=60, cmap="viridis")
figure.colorbar(dots, ax=left, label="distance to the true atom (pm)")
left.set(xlabel="x (Å)", ylabel="y (Å)", title="sites within 2 Å of z = 0", aspect="equal")
deep = depth > voxel
bins = np.arange(0, from_line[deep].max(), voxel)
which = np.digitize(from_line[deep], bins)
medians = [100 * np.median(distance[deep][which == n + 1]) for n in range(len(bins))]
right.plot(bins + voxel / 2, medians, "o-")
right.set(xlabel="distance from the line (Å)", ylabel="median error (pm)", ylim=(0, None))
right.set_title("worst at the core (surface left out)")
