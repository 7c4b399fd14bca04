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
# # From a dislocation to its diffraction pattern, and back
#
# A gold nanocrystal with one mixed dislocation: its atoms, its Bragg peak by two routes, the object that the peak
# is the transform of, and what a trained network reads from the counts. Units: Å, Å⁻¹ (2π included), radians.
# Signs: F(Q) = Σ f exp(+iQ·r), phase φ = +G·u. `jupytext --to notebook explore.py` makes an `.ipynb` of it.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.detector.counting import photon_counts
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure
from cdi.picture import draw_lines, draw_pattern, draw_phase_slice, draw_support_slice
from cdi.scattering.amplitude import amplitude
from cdi.scattering.bragg_object import bragg_object
from cdi.scattering.object_amplitude import bragg_amplitude
from cdi.shapes.polyhedron import truncated_octahedron

# %% [markdown]
# ## A crystal
#
# A truncated octahedron of 120 Å between {111} facets, turned so that no axis is special. The line lies on the first
# slip system whose Burgers vector the reflection 111 sees (g·b ≠ 0), 60° from b.

# %%
gold = Lattice.of_material("Au")
reflection = (1, 1, 1)
orientation = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
system = next(s for s in gold.slip_systems() if abs(np.dot(s.burgers, reflection)) > 0.5)
line = dislocation_on(gold, system, character_deg=60, point=np.array([6.0, -9.0, 4.0]), orientation=orientation)
shape = truncated_octahedron(120, orientation, ratio=1.2)
crystal = Crystal(gold, shape, orientation, (line,))
atoms = crystal.atoms()
ends = crystal.lines()[0].points
print(f"{len(atoms)} atoms; b = {system.burgers} a on {system.normal}; g·b = {np.dot(reflection, system.burgers):+.0f}")

# %% [markdown]
# ## The Burgers circuit
#
# u along a right-handed circle about the line: it climbs by b, then falls by the same lattice vector at the cut.

# %%
across, up, _ = line.frame
angle = torch.linspace(-torch.pi, torch.pi, 400, dtype=torch.float64)[1:-1]
circle = line.point + 20 * (angle.cos()[:, None] * across + angle.sin()[:, None] * up)
along_b = crystal.displacement(circle) @ line.burgers / line.burgers.norm()
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(np.degrees(angle), along_b)
axes.set(xlabel="angle about the line (°)", ylabel="u along b (Å)")
print(f"u climbs by {along_b[-1] - along_b[0]:.3f} Å; |b| = {line.burgers.norm():.3f} Å")

# %% [markdown]
# ## One peak, two routes
#
# All atoms with their exact Q·r by a non-uniform FFT, and the Bragg object s exp(iG·u) by an FFT. The second leaves out
# q·u against 1, so they differ a little, and less the larger the crystal.

# %%
G = crystal.reflection_vector(reflection)
grid = QGrid.orthogonal(G, shape.extent(np.eye(3)), 3.0, (32, 32, 32))
from_atoms = amplitude(atoms, grid)
from_object = bragg_amplitude([crystal], [grid], [reflection])[0].numpy()
overlap = abs(np.vdot(from_object, from_atoms)) / np.linalg.norm(from_object) / np.linalg.norm(from_atoms)
print(f"normalised overlap of the two amplitudes: {overlap:.4f}")
for intensity in (np.abs(from_atoms) ** 2, np.abs(from_object) ** 2):
    draw_pattern(
        plt.figure(figsize=(10, 3.2), layout="constrained"), intensity / intensity.max(), grid=grid, unit="relative"
    )

# %% [markdown]
# ## The object behind the peak
#
# Its phase G·u winds by 2π g·b about the line. The projected line over the crystal's shadow:

# %%
density = bragg_object([crystal], [grid], [reflection])
support, phase = density.support[0].numpy(), density.phase[0].numpy()
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
draw_support_slice(left, support, (0, 1), voxel=grid.voxel)
draw_phase_slice(middle, phase, support, (0, 1), voxel=grid.voxel)
draw_lines(right, [ends], (0, 1), outline=atoms.positions[:: len(atoms) // 2000])

# %% [markdown]
# ## What a network sees
#
# Poisson counts, 10⁵ in the brightest voxel, go to the network that ships with the program, if one does. The twin is
# as good an answer as the crystal itself: (r₀, b, ξ) and (−r₀, −b, ξ) have the same intensity.

# %%
counts = photon_counts(np.abs(from_atoms) ** 2, peak_counts=1e5, generator=np.random.default_rng(0))
exposure = Exposure(counts, grid)
try:
    from models.predictor import Predictor

    prediction = Predictor.load(device="cpu").predict([exposure])[0]
except (FileNotFoundError, ValueError) as reason:
    print(f"no prediction: {reason}")
else:
    answer = {key: value for key, value in prediction.to_json().items() if key != "lines"}
    print(answer)
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
    shadow = atoms.positions[:: len(atoms) // 2000]
    for panel, (title, drawn) in zip(panels, {"truth": [ends], "truth, twin": [-ends]}.items(), strict=True):
        draw_lines(panel, drawn, (0, 1), outline=shadow)
        draw_lines(panel, [found.points_A for found in prediction.lines], (0, 1), style="k--")
        panel.set_title(f"{title} and prediction (dashed)")
