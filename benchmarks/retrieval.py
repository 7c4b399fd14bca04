"""Phase retrieval beside cohere, on the same patterns with the same iterations. JSON lines, ratios within one run.

    python benchmarks/retrieval.py [--cohere PYTHON] [--chan FILE.tif] [--gold FRAMES] [--picture OUT.png] [--size 64]
                                   [--starts 3] [--iterations 600] [--thresholds '[0.15,0.2,0.3]'] [--device cpu]

fft       share of the processor time of one run that is spent inside transforms: of 100 iterations, which drawing and
          aligning weigh on, and of the 600 that a retrieval takes by default.
patterns  a clean and a counted pattern of a simulated dislocated crystal.
measured  --chan, a cropped peak, and --gold, a rocking curve of TIFF frames with its SPEC file beside; --picture is
          that of ours of the last one.

For each pattern and arm: seconds a start, misfit Σ(√I − |F|)² / ΣI of the density in its support (median and best of
the starts), overlap with the true density where it is known, resolution from the correlation of the starts. Of ours
also the deviance per held-out voxel and the vortex lines of the answer.

--cohere is a Python that imports cohere_core (its numpy backend runs, one thread); without it that arm is skipped. The
arms share the schedule, the shrink-wrap interval and width, and one thread. cohere's threshold is swept, since its
default leaves the support too large; each threshold is a line.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from machine import emit, machine
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.fourier import amplitude_from_object, object_from_amplitude
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure
from cdi.retrieval.alignment import align
from cdi.retrieval.averaging import FSC_LEVEL, PRTF_LEVEL, shell_correlation, transfer_function
from cdi.retrieval.config import RetrievalConfig, ShrinkWrap
from cdi.retrieval.framing import framed
from cdi.retrieval.phase_retrieval import retrieve
from cdi.retrieval.vortex_lines import vortex_lines
from cdi.scattering.object_amplitude import object_amplitudes
from cdi.shapes.polyhedron import truncated_octahedron
from data.formats.pattern_files import read_exposure
from data.retrieval_picture import save_retrieval_picture

MEASURED = ("chan2021", "gold")
SECTIONS = ("fft", "patterns", "measured")
PEAK_COUNTS = 1e6
CYCLE = 100
THRESHOLDS = (0.15, 0.2, 0.3)
"""Of cohere's shrink-wrap; 0.15 is what its own examples take."""
SIGMA, INTERVAL = 1.0, 20

COHERE = """
import json, sys, time, warnings
import numpy as np
warnings.filterwarnings("ignore")
from cohere_core.controller.phasing import create_rec
task = json.load(open(sys.argv[1]))
for start in range(task["starts"]):
    np.random.seed(start)
    rec = create_rec(dict(task["params"]), task["data"], "np", -1, debug=True)
    begin = time.perf_counter()
    processor = time.process_time()
    rec.iterate()
    spent = time.perf_counter() - begin, time.process_time() - processor
    image, support = np.asarray(rec.get_image()), np.asarray(rec.get_support())
    np.savez(f"{task['output']}{start}.npz", image=image, support=support, seconds=spent)
"""


def main(
    sections: tuple[str, ...] = SECTIONS,
    cohere: str | None = None,
    chan: str | None = None,
    gold: str | None = None,
    picture: str | None = None,
    size: int = 64,
    starts: int = 3,
    iterations: int = 600,
    thresholds: tuple[float, ...] = THRESHOLDS,
    device: str = "cpu",
    seed: int = 0,
) -> None:
    torch.set_num_threads(1)
    run = {"device": device, "threads": 1, "starts": starts, "iterations": iterations, "seed": seed}
    emit(benchmark="retrieval", machine=machine(), **run)
    cycles = max(1, iterations // CYCLE)
    config = RetrievalConfig(
        schedule=f"{cycles}x(HIO {CYCLE - 20}, ER 20)", starts=starts, best=starts,
        shrink_wrap=ShrinkWrap(INTERVAL, sigma_start=SIGMA, sigma_end=SIGMA),
    )  # fmt: skip
    truth, patterns = simulated(size, seed)
    if "fft" in sections:
        fft_share(patterns["counted"], config, device)
    chosen = patterns if "patterns" in sections else {}
    if "measured" in sections:
        chosen = {**chosen, **measured(chan, gold, size)}
    for name, exposure in chosen.items():
        known = None if name in MEASURED else truth
        ours(name, exposure, known, config, device, seed, picture if name in MEASURED else None)
        if cohere is None:
            emit(section=section_of(name), pattern=name, arm="cohere", skipped="give --cohere PYTHON")
            continue
        for threshold in thresholds:
            theirs(name, exposure, known, cohere, cycles, starts, threshold)


def section_of(pattern: str) -> str:
    return "measured" if pattern in MEASURED else "patterns"


def measured(chan: str | None, gold: str | None, size: int) -> dict[str, Exposure]:
    """The measured patterns that are named."""
    found: dict[str, Exposure] = {}
    if chan is None:
        emit(section="measured", pattern="chan2021", skipped="give --chan FILE.tif")
    else:
        found["chan2021"] = framed(read_exposure(chan), binning=(1, 1, 1))
    if gold is None:
        emit(section="measured", pattern="gold", skipped="give --gold FRAMES")
    else:
        found["gold"] = framed(read_exposure(gold), (size, size, size))
    return found


def simulated(size: int, seed: int) -> tuple[torch.Tensor, dict[str, Exposure]]:
    """True density and patterns of a faceted, rotated gold crystal with one edge dislocation."""
    rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    lattice, reflection = Lattice.of_material("Au"), (1, 1, 1)
    system = next(s for s in lattice.slip_systems() if abs(np.dot(s.burgers, reflection)) > 0.5)
    line = dislocation_on(lattice, system, character_deg=90, point=np.array([20.0, -15, 10]), orientation=rotation)
    crystal = Crystal(lattice, truncated_octahedron(600.0, rotation, 1.2), rotation, (line,))
    grid = QGrid.orthogonal(crystal.reflection_vector(reflection), crystal.shape.extent(np.eye(3)), 2.8, (size,) * 3)
    (amplitude,) = object_amplitudes(crystal, [(reflection, grid)])
    amplitude = amplitude * (PEAK_COUNTS**0.5 / amplitude.abs().max())
    intensity = amplitude.abs().square().numpy()
    counts = np.random.default_rng(seed).poisson(intensity)
    patterns = {"clean": intensity, "counted": counts}
    density = object_from_amplitude(amplitude)
    return density, {name: Exposure(values.astype(np.float32)) for name, values in patterns.items()}


def fft_share(exposure: Exposure, config: RetrievalConfig, device: str) -> None:
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CUDA] if device == "cuda" else [ProfilerActivity.CPU]
    for schedule in ("HIO 80, ER 20", RetrievalConfig.schedule):
        run = RetrievalConfig(schedule=schedule, starts=1, best=1, shrink_wrap=config.shrink_wrap)
        retrieve([exposure], replace(run, schedule="ER 10"), generator=torch.Generator().manual_seed(0), device=device)
        with profile(activities=activities) as profiler:
            retrieve([exposure], run, generator=torch.Generator().manual_seed(0), device=device)
        times = {
            event.key: event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
            for event in profiler.key_averages()
        }
        whole = sum(times.values())
        inside = sum(value for key, value in times.items() if "fft" in key.lower())
        rest = sorted(((value / whole, key) for key, value in times.items() if "fft" not in key.lower()), reverse=True)
        emit(section="fft", iterations=run.iterations, share=round(inside / whole, 3),
             rest={key: round(value, 3) for value, key in rest[:4]})  # fmt: skip


def ours(
    name: str, exposure: Exposure, truth: torch.Tensor | None, config: RetrievalConfig, device: str, seed: int,
    picture: str | None,
) -> None:  # fmt: skip
    begin, processor = time.perf_counter(), time.process_time()
    found = retrieve([exposure], config, generator=torch.Generator().manual_seed(seed), device=device)
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    runs = torch.as_tensor(found.runs)[:, 0]
    judge(name, "ours", exposure, truth, list(runs), [int(found.support[0].sum())] * len(runs),
          [seconds / config.starts] * config.starts, [processor / config.starts] * config.starts,
          mode_weight=round(float(found.mode_weight[0]), 4),
          free_deviance_best=round(float(found.free_deviance.min()), 3),
          free_deviance_median=round(float(np.median(found.free_deviance)), 3),
          vortex_lines=len(vortex_lines(found.density[0], found.support[0])))  # fmt: skip
    if picture is not None:
        save_retrieval_picture(picture, found, title=name)


def theirs(
    name: str, exposure: Exposure, truth: torch.Tensor | None, python: str, cycles: int, starts: int, threshold: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npy"
        root = np.sqrt(np.where(exposure.mask, exposure.counts, 0) if exposure.mask is not None else exposure.counts)
        np.save(data, root.astype(np.float32))
        params = {
            "algorithm_sequence": f"{cycles}*({CYCLE - 20}*HIO+20*ER)", "hio_beta": RetrievalConfig().hio_beta,
            "shrink_wrap_trigger": [INTERVAL, INTERVAL], "shrink_wrap_type": "GAUSS",
            "shrink_wrap_threshold": threshold, "shrink_wrap_gauss_sigma": SIGMA,
        }  # fmt: skip
        task = Path(folder) / "task.json"
        task.write_text(json.dumps({"params": params, "data": str(data), "starts": starts, "output": f"{folder}/run"}))
        one = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        done = subprocess.run([python, "-c", COHERE, str(task)], capture_output=True, text=True, env=one, check=False)
        if done.returncode:
            emit(section=section_of(name), pattern=name, arm="cohere", failed=done.stderr.strip().splitlines()[-1:])
            return
        results = [dict(np.load(f"{folder}/run{start}.npz")) for start in range(starts)]
    # Its own last image may lie outside its support after shrink-wrap: judged within it, as ours is.
    images = [torch.as_tensor(r["image"].astype(complex) * (r["support"] > 0)) for r in results]
    judge(name, "cohere", exposure, truth, images, [int(r["support"].sum()) for r in results],
          *([float(r["seconds"][i]) for r in results] for i in (0, 1)), threshold=threshold)  # fmt: skip


def judge(
    name: str, arm: str, exposure: Exposure, truth: torch.Tensor | None, densities: list[torch.Tensor],
    voxels: list[int], seconds: list[float], processor: list[float], **more: Any,
) -> None:  # fmt: skip
    """One line for one arm on one pattern; every density is rescaled to the pattern first."""
    seen = torch.ones(exposure.counts.shape, dtype=torch.bool)
    if exposure.mask is not None:
        seen = torch.as_tensor(exposure.mask)
    root = torch.where(seen, torch.as_tensor(exposure.counts).double(), 0).sqrt()
    errors, scaled = [], []
    for density in densities:
        modulus = amplitude_from_object(density).abs() * seen
        scale = (modulus * root).sum() / modulus.square().sum()
        errors.append(float(((scale * modulus - root) * seen).square().sum() / root.square().sum()))
        scaled.append(density.to(torch.complex128) * scale)
    best = scaled[int(np.argmin(errors))]
    aligned = [align(density[None], best[None])[0] for density in scaled]
    runs = torch.stack(aligned)
    halves = shell_correlation(runs[0::2].mean(0), runs[1::2].mean(0)) if len(runs) > 1 else None
    transfer = transfer_function(runs, root[None], seen[None])
    overlaps = [] if truth is None else [align(density[None], truth[None])[1].overlap for density in scaled]
    emit(section=section_of(name), pattern=name, arm=arm, seconds_a_start=round(min(seconds), 2),
         processor_seconds_a_start=round(min(processor), 2), misfit_best=float(f"{min(errors):.4g}"),
         misfit_median=float(f"{statistics.median(errors):.4g}"), support_voxels=int(statistics.median(voxels)),
         true_overlap_best=round(max(overlaps), 4) if overlaps else None,
         true_overlap_median=round(statistics.median(overlaps), 4) if overlaps else None,
         half_period_voxels_fsc=None if halves is None else round(float(halves.resolution(FSC_LEVEL)[0]), 2),
         half_period_voxels_prtf=round(float(transfer.resolution(PRTF_LEVEL)[0]), 2), **more)  # fmt: skip


if __name__ == "__main__":
    auto_cli(main)
