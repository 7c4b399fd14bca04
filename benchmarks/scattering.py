"""Speed, memory and accuracy of the routes from a crystal to a pattern. JSON lines, ratios within one run.

    python benchmarks/scattering.py [--sections '[accuracy,atoms,object,memory]'] [--sizes '[32,64,128]']
                                    [--atoms 1000000] [--repeats 3] [--memory_atoms 10000000]

accuracy  NUFFT and Bragg object against the float64 direct sum of one dislocated, rotated crystal, 32³.
atoms     atoms × q-points per second on 64³: torch's own direct sum, ours, each NUFFT library through our
          seam and called alone from numpy with its arguments prepared.
object    Bragg object → exposure: samples per second, the transforms that it needs, split of the time.
memory    peak bytes of a child process beyond its imports, against the bytes of the result.

Minima over repeats. Processor time of the one thread, which a busy machine disturbs least; wall time on a GPU.
"""

import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli
from machine import emit, machine
from scipy.spatial.transform import Rotation

from cdi.atoms import Atoms
from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.detector.counting import photon_counts
from cdi.errors import MissingDependencyError
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.scattering.amplitude import atomic_amplitudes
from cdi.scattering.bragg_object import check_oversampling, shape_fraction, voxel_width
from cdi.scattering.forward import amplitudes
from cdi.scattering.model import ScatteringModel
from cdi.scattering.nufft import installed_libraries
from cdi.scattering.object_amplitude import bragg_amplitude
from cdi.scattering.position_amplitude import position_amplitudes
from cdi.shapes.polyhedron import truncated_octahedron

REFLECTION = (1, 1, 1)
SECTIONS = ("accuracy", "atoms", "object", "memory")
SUPERSAMPLING = 2


def main(
    sections: tuple[str, ...] = SECTIONS,
    sizes: tuple[int, ...] = (32, 64, 128),
    atoms: int = 1_000_000,
    memory_atoms: int = 10_000_000,
    batch: int = 4,
    repeats: int = 3,
    seed: int = 0,
) -> None:
    torch.set_num_threads(1)
    emit(benchmark="scattering", machine=machine(), seed=seed, threads=1, repeats=repeats)
    arms = {
        "accuracy": partial(accuracy, repeats=repeats, seed=seed),
        "atoms": partial(atoms_to_amplitude, count=atoms, repeats=repeats, seed=seed),
        "object": partial(object_to_exposure, sizes=sizes, batch=batch, repeats=repeats, seed=seed),
        "memory": partial(memory, count=memory_atoms, size=max(sizes), batch=batch, seed=seed),
    }
    for section in sections:
        if section not in arms:
            raise ValueError(f"sections must be among {', '.join(arms)}, got {section!r}")
        arms[section]()


def crystal_of(diameter_A: float, seed: int) -> Crystal:
    """Copper, faceted, rotated, one 60° dislocation that the reflection sees."""
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    lattice = Lattice.of_material("Cu")
    system = next(s for s in lattice.slip_systems() if abs(np.dot(s.burgers, REFLECTION)) > 0.5)
    line = dislocation_on(lattice, system, character_deg=60, point=np.array([5.0, -3, 4]), orientation=rotation)
    return Crystal(lattice, truncated_octahedron(diameter_A, rotation), rotation, (line,))


def grid_of(crystal: Crystal, size: int) -> QGrid:
    G = crystal.reflection_vector(REFLECTION)
    return QGrid.orthogonal(G, crystal.shape.extent(np.eye(3)), 2.5, (size,) * 3)


def best(run: Callable[[], object], repeats: int, clock: Callable[[], float] = time.thread_time) -> float:
    """Least seconds of ``repeats`` runs."""
    seconds = []
    for _ in range(repeats):
        start = clock()
        run()
        seconds.append(clock() - start)
    return min(seconds)


def on_gpu(run: Callable[[], object]) -> Callable[[], object]:
    def synchronised() -> None:
        run()
        torch.cuda.synchronize()

    return synchronised


def accuracy(repeats: int, seed: int) -> None:
    crystal = crystal_of(100.0, seed)
    views = [(REFLECTION, grid_of(crystal, 32))]
    arms = [
        ("direct", ScatteringModel(), 1),
        *(
            ("nufft", ScatteringModel(library=name, tolerance=tolerance), repeats)
            for name in installed_libraries()
            for tolerance in (1e-9, 1e-6)
        ),
        ("nufft", ScatteringModel(precision="single"), repeats),
        ("object", ScatteringModel(), repeats),
        ("object", ScatteringModel(precision="single"), repeats),
    ]  # fmt: skip
    (reference,) = amplitudes(crystal, views, route="direct")
    for route, model, times in arms:
        run = partial(amplitudes, crystal, views, route=route, model=model)
        found = run()[0].to(torch.complex128)
        error = float((found - reference).norm() / reference.norm())
        overlap = abs(complex(torch.vdot(found.flatten(), reference.flatten()))) / float(
            found.norm() * reference.norm()
        )
        emit(section="accuracy", route=route, library=model.library, precision=model.precision,
             tolerance=model.nufft_tolerance if route == "nufft" else None, seconds_min=round(best(run, times), 4),
             relative_l2_error=float(f"{error:.3g}"), overlap=round(overlap, 6))  # fmt: skip


def atoms_to_amplitude(count: int, repeats: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-100, 100, (count, 3))
    specimen = Atoms.of_element("Cu", positions)
    grid = QGrid.orthogonal([1.7, -1.1, 2.2], [200.0] * 3, 2.5, (64, 64, 64))
    voxels = int(np.prod(grid.shape))

    few = positions[:: max(1, count // 2000)]
    q = torch.as_tensor(np.stack(grid.axes(), -1).reshape(-1, 3)[:: voxels // 2000])
    seconds = best(lambda: torch.exp(1j * (q @ torch.as_tensor(few).T)).sum(1), repeats)
    plain = len(few) * len(q) / seconds
    emit(section="atoms", arm="plain torch direct sum", atoms=len(few), q_points=len(q), atoms_q_per_s=f"{plain:.3g}")
    some = Atoms.of_element("Cu", few)
    seconds = best(lambda: atomic_amplitudes(some, [grid], route="direct"), 1)
    ours = len(few) * voxels / seconds
    emit(section="atoms", arm="direct", atoms=len(few), q_points=voxels, atoms_q_per_s=f"{ours:.3g}",
         ratio_to_plain=round(ours / plain, 1))  # fmt: skip

    for library in installed_libraries():
        model = ScatteringModel(library=library)
        bare_run = bare_library(library, positions, grid, model.nufft_tolerance)
        whole, bare = [], []
        for _ in range(repeats):  # in turn, so that a busy moment hits both
            bare.append(best(bare_run, 1))
            whole.append(best(lambda model=model: atomic_amplitudes(specimen, [grid], model=model), 1))
        emit(section="atoms", arm="nufft", library=library, atoms=count, q_points=voxels, seconds=round(min(whole), 4),
             bare_library_seconds=round(min(bare), 4), overhead=round(min(whole) / min(bare) - 1, 3),
             atoms_q_per_s=f"{count * voxels / min(whole):.3g}")  # fmt: skip
        three = [grid, QGrid(-grid.centre, grid.step, grid.shape), QGrid(2 * grid.centre, grid.step, grid.shape)]
        shared = best(lambda model=model, grids=three: atomic_amplitudes(specimen, grids, model=model), 1)
        emit(section="atoms", arm="nufft, three reflections with shared steps", library=library,
             ratio_to_three_single=round(shared / 3 / min(whole), 3))  # fmt: skip
    if torch.cuda.is_available():
        on_device = torch.as_tensor(positions, device="cuda")
        species = np.zeros(count, np.int64)
        for route in ("nufft", "direct"):
            run = on_gpu(partial(position_amplitudes, on_device, species, ["Cu"], [grid], route=route))
            try:
                run()
            except MissingDependencyError as error:
                emit(section="atoms", arm=f"{route} on GPU", missing=str(error))
                continue
            seconds = best(run, repeats, time.perf_counter)
            emit(section="atoms", arm=f"{route} on GPU", atoms=count, q_points=voxels, seconds=round(seconds, 4),
                 atoms_q_per_s=f"{count * voxels / seconds:.3g}")  # fmt: skip


def bare_library(name: str, positions: np.ndarray, grid: QGrid, tolerance: float) -> Callable[[], object]:
    """The library's own type 1 call in numpy, its arguments prepared outside the clock."""
    strengths = np.exp(1j * (positions @ grid.centre))
    angles = positions @ grid.step.T
    if name == "ducc0":
        import ducc0

        out = np.empty(grid.shape, np.complex128)
        return lambda: ducc0.nufft.nu2u(points=strengths, coord=angles, forward=False, epsilon=tolerance, out=out)
    import finufft

    x, y, z = (np.ascontiguousarray(column) for column in angles.T)
    return lambda: finufft.nufft3d1(x, y, z, strengths, grid.shape, isign=1, eps=tolerance, nthreads=1)


def object_to_exposure(sizes: tuple[int, ...], batch: int, repeats: int, seed: int) -> None:
    for size in sizes:
        crystals = [crystal_of(300.0 + 10 * i, seed + i) for i in range(batch)]
        grids = [grid_of(crystal, size) for crystal in crystals]
        arms = [("cpu", "single"), ("cpu", "double")] + ([("cuda", "single")] if torch.cuda.is_available() else [])
        for device, precision in arms:
            _exposure_arm(crystals, grids, ScatteringModel(precision=precision, supersampling=SUPERSAMPLING), device,
                          repeats)  # fmt: skip


def _exposure_arm(
    crystals: list[Crystal], grids: list[QGrid], model: ScatteringModel, device: str, repeats: int
) -> None:
    size, batch = grids[0].shape[0], len(crystals)
    generator = np.random.default_rng(0)
    gpu = device == "cuda"
    clock = time.perf_counter if gpu else time.thread_time

    def timed(run: Callable[[], object]) -> float:
        chosen = on_gpu(run) if gpu else run
        chosen()
        return best(chosen, repeats, clock)

    def expose() -> None:
        intensity = pattern().abs().square().double().cpu().numpy()
        for volume in intensity:
            photon_counts(volume, peak_counts=1e5, generator=generator)

    pattern = partial(bragg_amplitude, crystals, grids, [REFLECTION] * batch, model=model, device=device)
    dtype = torch.complex64 if model.precision == "single" else torch.complex128
    object_ = torch.zeros((size,) * 3, dtype=dtype, device=device)
    amplitude, exposure = timed(pattern), timed(expose)
    pruned = batch * timed(lambda: _pruned_fft(object_, SUPERSAMPLING * size))
    full = batch * timed(lambda: torch.fft.ifftn(torch.zeros((SUPERSAMPLING * size,) * 3, dtype=dtype, device=device)))
    support, displacement = (
        timed(lambda: _each(crystals, grids, model, device, 0)),
        timed(lambda: _each(crystals, grids, model, device, 1)),
    )
    emit(section="object", device=device, size=size, batch=batch, precision=model.precision,
         samples_per_s=round(batch / exposure, 2), amplitudes_per_s=round(batch / amplitude, 2),
         amplitude_over_pruned_ffts=round(amplitude / pruned, 2), amplitude_over_full_fft=round(amplitude / full, 2),
         exposure_over_pruned_ffts=round(exposure / pruned, 2),
         share_of_exposure={"support": round(support / exposure, 3), "displacement": round(displacement / exposure, 3),
                            "transform and rest": round((amplitude - support - displacement) / exposure, 3),
                            "photons": round((exposure - amplitude) / exposure, 3)})  # fmt: skip


def _pruned_fft(object_: torch.Tensor, length: int) -> torch.Tensor:
    """The transform that a half-filled box and a central half of its modes need, axis by axis."""
    size = object_.shape[0]
    for axis in (2, 1, 0):
        object_ = torch.fft.ifft(object_, n=length, dim=axis).narrow(axis, 0, size)
    return object_


def _each(crystals: list[Crystal], grids: list[QGrid], model: ScatteringModel, device: str, part: int) -> None:
    """Support (0) over each crystal's box, or displacement (1) over the points within it."""
    dtype = torch.float32 if model.precision == "single" else torch.float64
    for crystal, grid in zip(crystals, grids, strict=True):
        low, high = check_oversampling(crystal.shape, grid)
        voxel = torch.as_tensor(grid.voxel / model.supersampling)
        bounds = zip(low * model.supersampling, high * model.supersampling, strict=True)
        numbers = (torch.arange(int(a), int(b) + 1) for a, b in bounds)
        points = (torch.cartesian_prod(*numbers).double() @ voxel).to(device, dtype)
        if part == 0:
            shape_fraction(crystal.shape, points, voxel_width(grid, model.supersampling))
        else:
            crystal.displacement(points[: len(points) // 2])


def memory(count: int, size: int, batch: int, seed: int) -> None:
    context = multiprocessing.get_context("spawn")
    for name, task, arguments in (
        ("atoms, NUFFT", _peak_of_atoms, (count, seed)),
        ("Bragg objects", _peak_of_objects, (size, batch, seed)),
    ):
        with context.Pool(1) as pool:
            emit(section="memory", arm=name, **pool.apply(task, arguments))


def _peak() -> int:
    """Most resident bytes of this process; ``getrusage`` would count its parent's, from before the exec, as well."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _peak_of_atoms(count: int, seed: int) -> dict[str, object]:
    grid = QGrid.orthogonal([1.7, -1.1, 2.2], [430.0] * 3, 2.5, (64, 64, 64))
    atomic_amplitudes(Atoms.of_element("Cu", np.eye(3)), [grid])
    specimen = Atoms.of_element("Cu", np.random.default_rng(seed).uniform(-215, 215, (count, 3)))
    before = _peak()
    (found,) = atomic_amplitudes(specimen, [grid])
    held = specimen.positions.nbytes + specimen.species.nbytes
    return _ratio(_peak() - before, found.nbytes, atoms=count, atoms_bytes=held)


def _peak_of_objects(size: int, batch: int, seed: int) -> dict[str, object]:
    torch.set_num_threads(1)
    model = ScatteringModel(precision="single")
    crystals = [crystal_of(300.0 + 10 * i, seed + i) for i in range(batch)]
    small = crystals[0], grid_of(crystals[0], 16)
    bragg_amplitude([small[0]], [small[1]], [REFLECTION], model=model)
    grids = [grid_of(crystal, size) for crystal in crystals]
    before = _peak()
    found = bragg_amplitude(crystals, grids, [REFLECTION] * batch, model=model)
    return _ratio(_peak() - before, found.numel() * found.element_size(), size=size, batch=batch)


def _ratio(peak: int, result: int, **facts: object) -> dict[str, object]:
    return {**facts, "peak_bytes": peak, "result_bytes": result, "peak_over_result": round(peak / result, 2)}


if __name__ == "__main__":
    auto_cli(main)
