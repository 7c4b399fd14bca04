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
# # 1. A dislocation and its pattern
#
# A gold nanocrystal with one straight dislocation, and its Bragg peak in any reflection you like. What a reflection G
# sees of a Burgers vector b is the winding number g·b = G·b/2π: the phase G·u turns by 2π g·b around the line. A
# screw with g·b = 0 leaves no trace at all; an edge leaves the strain of its extra half plane.
#
# Units: Å, Å⁻¹ (2π included), radians. Phase φ = +G·u. With `pip install ipywidgets` the sliders at the end appear.

# %%
from importlib.util import find_spec

import matplotlib.pyplot as plt
import numpy as np

from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.picture import draw_intensity_slice, draw_phase_slice
from cdi.scattering.bragg_object import bragg_object
from cdi.scattering.object_amplitude import object_amplitudes
from cdi.shapes.polyhedron import truncated_octahedron

# %% [markdown]
# ## The crystal
#
# A truncated octahedron of 400 Å, its cubic axes along x, y, z. The six Burgers vectors ½⟨110⟩ of an fcc crystal,
# each on the first slip plane that holds it. A line is told by b, by its angle to b (0° screw, 90° edge) and by a
# point.

# %%
gold, upright = Lattice.of_material("Au"), np.eye(3)
shape = truncated_octahedron(400, upright)
systems = {}
for system in gold.slip_systems():
    if next(b for b in system.burgers if b) > 0:  # of b and −b one
        systems.setdefault("½[" + " ".join(f"{2 * b:.0f}" for b in system.burgers) + "]", system)
reflections = {
    " ".join(map(str, g)): g
    for g in [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (2, 0, 0), (0, 2, 0), (0, 0, 2), (2, 2, 0)]
}
print("Burgers vectors:", ", ".join(systems))


def crystal(b=None, character_deg=0.0, point=(0.0, 0.0, 0.0)):
    """The crystal with a line through `point` (Å), or without one."""
    if b is None:
        return Crystal(gold, shape, upright)
    where = np.asarray(point, float)
    line = dislocation_on(gold, systems[b], character_deg=character_deg, point=where, orientation=upright)
    return Crystal(gold, shape, upright, (line,))


def patterns(of, names, voxels=32):
    """|F|² of every named reflection, each on a grid about its own peak, and the grids."""
    views = [
        (
            reflections[name],
            QGrid.orthogonal(of.reflection_vector(reflections[name]), shape.extent(upright), 3.0, (voxels,) * 3),
        )
        for name in names
    ]
    return [(np.abs(F.numpy()) ** 2, grid) for F, (_, grid) in zip(object_amplitudes(of, views), views, strict=True)]


# %% [markdown]
# ## One line, two reflections
#
# The same edge dislocation. 1 1 1 sees it: the phase winds once around the line, and the peak splits. In −1 1 1 it is
# g·b = 0: no winding, and what is left is strain.


# %%
def show(b="½[1 -1 0]", g="1 1 1", character_deg=90.0, x=0.0, y=0.0):
    """Pattern beside that of the perfect crystal, and the phase in the middle of the object."""
    of = crystal(b, character_deg, (x, y, 0.0))
    (perfect, grid), (intensity, _) = patterns(crystal(), [g])[0], patterns(of, [g])[0]
    density = bragg_object([of], [grid], [reflections[g]])
    winding = np.dot(reflections[g], systems[b].burgers)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for panel, volume, title in zip(
        axes, (perfect, intensity), ("perfect", f"b = {b}, {character_deg:.0f}°"), strict=False
    ):
        draw_intensity_slice(panel, volume / perfect.max(), (0, 1), grid=grid, decades=5)
        panel.set_title(title)
    draw_phase_slice(axes[2], density.phase[0].numpy(), density.support[0].numpy(), (0, 1), voxel=grid.voxel)
    axes[2].set_title(f"phase of {g}:  g·b = {winding:+.0f}")
    return figure


first = next(
    b for b, system in systems.items() if np.dot((1, 1, 1), system.burgers) and not np.dot((-1, 1, 1), system.burgers)
)
for g in ("1 1 1", "-1 1 1"):
    show(first, g)
    plt.show()

# %% [markdown]
# ## Where g·b = 0
#
# Left: g·b of all Burgers vectors in eight reflections. Right: how much a *screw* with that b changes the pattern,
# Σ|I − I₀| / ΣI₀. The zeros are in the same places, and they are zeros to rounding: no intensity shows such a line,
# however well it is measured. Three reflections that are not coplanar see every b.

# %%
names = list(reflections)
table = np.array([[np.dot(reflections[g], systems[b].burgers) for g in names] for b in systems])
before = [intensity for intensity, _ in patterns(crystal(), names, 24)]


def change(b, character_deg):
    after = [intensity for intensity, _ in patterns(crystal(b, character_deg), names, 24)]
    return [np.abs(i - j).sum() / j.sum() for i, j in zip(after, before, strict=True)]


screws = np.array([change(b, 0.0) for b in systems])
figure, panels = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
for panel, numbers, title, colours, least in zip(
    panels, (table, screws), ("g·b", "change of the pattern by a screw"), ("coolwarm", "viridis"), (-2, 0), strict=True
):
    image = panel.imshow(numbers, cmap=colours, vmin=least, vmax=2, aspect="auto")
    panel.set(title=title, xticks=range(len(names)), yticks=range(len(systems)), yticklabels=list(systems))
    panel.set_xticklabels(names, rotation=60)
    figure.colorbar(image, ax=panel, shrink=0.8)
hidden = np.isclose(table, 0)
print(f"screws with g·b = 0 change the pattern by at most {screws[hidden].max():.1e}")
print(f"the others by at least {screws[~hidden].min():.2f}")

# %% [markdown]
# An edge with g·b = 0 is not quite hidden: its strain along b × ξ reaches the phase, unless G is along the line.

# %%
edges = np.array(change(first, 90.0))
for g, winding, changed in zip(names, table[list(systems).index(first)], edges, strict=True):
    print(f"edge, b = {first}, {g:>7}: g·b = {winding:+.0f}, the pattern changes by {changed:.3f}")

# %% [markdown]
# ## Turn it yourself

# %%
if find_spec("ipywidgets"):
    from ipywidgets import FloatSlider, interact

    interact(
        show, b=list(systems), g=names, character_deg=FloatSlider(90, min=0, max=90, step=15, description="angle (°)"),
        x=FloatSlider(0, min=-120, max=120, step=20, description="x (Å)"),
        y=FloatSlider(0, min=-120, max=120, step=20, description="y (Å)"),
    )  # fmt: skip
else:
    print("no sliders without ipywidgets: call show(b, g, character_deg, x, y)")
