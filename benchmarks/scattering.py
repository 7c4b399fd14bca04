"""Accuracy and time of the routes from a crystal to a pattern. JSON lines, arms in one run.

    python benchmarks/scattering.py [--diameter-A 120] [--repeats 3]

NUFFT and Bragg object against the float64 direct sum of the same dislocated, rotated,
faceted crystal, on a 32³ grid around (111).
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from jsonargparse import auto_cli
from machine import emit, machine
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.scattering.amplitude import amplitude
from cdi.scattering.bragg_object import bragg_amplitude
from cdi.shapes.polyhedron import truncated_octahedron


def main(diameter_A: float = 100.0, repeats: int = 3, seed: int = 0) -> None:
    torch.set_num_threads(1)
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    lattice = Lattice.of_material("Cu")
    system = next(s for s in lattice.slip_systems() if abs(np.dot(s.burgers, (1, 1, 1))) > 0.5)
    line = dislocation_on(lattice, system, character_deg=60, point=np.array([5.0, -3, 4]), orientation=rotation)
    shape = truncated_octahedron(diameter_A, rotation)
    crystal = Crystal(lattice, shape, rotation, (line,))
    atoms = crystal.atoms()
    grid = QGrid.orthogonal(crystal.reflection_vector((1, 1, 1)), shape.extent(np.eye(3)), 2.5, (32, 32, 32))
    emit(benchmark="scattering", machine=machine(), atoms=len(atoms), grid=grid.shape, seed=seed, threads=1)
    routes: dict[str, Callable[[], np.ndarray]] = {
        "direct sum": lambda: amplitude(atoms, grid, route="direct"),
        "NUFFT 1e-9": lambda: amplitude(atoms, grid, tolerance=1e-9),
        "NUFFT 1e-6": lambda: amplitude(atoms, grid, tolerance=1e-6),
        "Bragg object, FFT": lambda: bragg_amplitude([crystal], [grid], [(1, 1, 1)])[0].numpy(),
    }
    reference = routes["direct sum"]()
    for name, route in routes.items():
        seconds = []
        for _ in range(1 if name == "direct sum" else repeats):
            start = time.perf_counter()
            result = route()
            seconds.append(time.perf_counter() - start)
        overlap = abs(np.vdot(result, reference)) / np.linalg.norm(result) / np.linalg.norm(reference)
        error = np.linalg.norm(result - reference) / np.linalg.norm(reference)
        emit(route=name, seconds_min=round(min(seconds), 4), overlap=round(float(overlap), 6),
             relative_l2_error=float(f"{error:.3g}") if "Bragg" not in name else None)  # fmt: skip


if __name__ == "__main__":
    auto_cli(main)
