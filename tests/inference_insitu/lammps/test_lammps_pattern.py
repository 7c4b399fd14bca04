"""Partial amplitudes of disjoint atoms are that of the whole; the grid follows the peak."""

import json
import sys
from itertools import pairwise

import numpy as np
import pytest
from launching import last_json

from cdi.atoms import Atoms
from cdi.grid import QGrid
from cdi.scattering.amplitude import amplitude
from inference_insitu.lammps.config import InsituConfig, PatternConfig
from inference_insitu.lammps.coupled import STREAM, coupling_config, variables
from inference_insitu.lammps.pattern import Detector, partial_amplitude, peak_shift
from inference_insitu.reduction.group import Alone
from inference_insitu.reduction.pipeline import pipeline

A = 3.615
SHAPE = (12, 14, 10)
ENERGY_KEV = 8.5


def crystal():
    """An fcc block of 5 × 4 × 6 cells, slightly shaken, ``(480, 3)`` Å."""
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in (5, 4, 6)), indexing="ij"), -1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    sites = (cells + basis).reshape(-1, 3) * A
    return sites - sites.mean(0) + np.random.default_rng(0).normal(0, 0.05, sites.shape)


def peak_grid(shift=(0.0, 0.0, 0.0)):
    return QGrid.orthogonal(2 * np.pi / A * np.ones(3) + np.asarray(shift), [20.0, 17.0, 24.0], 3.0, SHAPE)


def parts(positions, ranks):
    """Uneven shares of all atoms; the second of three or more ranks has none."""
    shares = [10, 3] if ranks == 2 else [5, 0, *range(1, ranks - 1)]
    bounds = np.cumsum([0, *shares]) * len(positions) // sum(shares)
    return [positions[a:b] for a, b in pairwise(bounds)]


def relative_error(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def detector(**options):
    config = PatternConfig(shape=SHAPE, energy_keV=ENERGY_KEV, **options)
    return Detector(element="Cu", reflection_vector=2 * np.pi / A * np.ones(3), extent_A=24.0, config=config)


def reduction():
    """The operators of the coupled run."""
    config = InsituConfig(pattern=PatternConfig(shape=SHAPE))
    (variable,) = variables(config).values()
    return pipeline(coupling_config(config).streams[STREAM].operators, variable.shape, variable.dtype)


def look(subject, positions, group=None, share=lambda values: values):
    """One pattern of ``positions``, which the grid follows; None where it went to the root."""
    intensity = reduction()(subject.partial(positions), group or Alone())
    subject.follow(intensity, share)
    return intensity


def main():
    """Under mpiexec: the root prints how far the reduced amplitude is from that of the whole."""
    from mpi4py import MPI

    from inference_insitu.placement import mpi

    world = MPI.COMM_WORLD
    group = mpi.MpiGroup(world)
    positions, grid = crystal(), peak_grid()
    mine = parts(positions, world.size)[world.rank]
    total = group.sum_to_root(partial_amplitude("Cu", mine, grid, energy_keV=ENERGY_KEV))
    following = detector()
    for _ in range(2):
        look(following, mine * 1.01, group, group.share)
    centres = group.largest(following.grid.centre) + group.largest(-following.grid.centre)
    if total is not None:
        whole = amplitude(Atoms.of_element("Cu", positions), grid, energy_keV=ENERGY_KEV, route="direct")
        lone = detector()
        for _ in range(2):
            look(lone, positions * 1.01)
        figures = {
            "error": relative_error(total, whole),
            "centre_error": float(np.abs(lone.grid.centre - following.grid.centre).max()),
            "centre_spread": float(np.abs(centres).max()),
            "atoms": len(mine),
        }
        print(json.dumps(figures), flush=True)
    mpi.wait_for_all(world, timeout_s=60)


def test_partial_amplitudes_add_up_to_that_of_the_whole():
    positions, grid = crystal(), peak_grid()
    total = sum(partial_amplitude("Cu", part, grid, energy_keV=ENERGY_KEV) for part in parts(positions, 4))
    whole = amplitude(Atoms.of_element("Cu", positions), grid, energy_keV=ENERGY_KEV)
    assert relative_error(total, whole) < 1e-9


@pytest.mark.mpi
@pytest.mark.timeout(180)
@pytest.mark.parametrize("ranks", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_ranks_reduce_to_the_amplitude_of_the_whole(mpirun, ranks):
    """Against the float64 direct sum; a rank without atoms takes part; all follow the same peak."""
    figures = last_json(mpirun(ranks, __file__))
    assert figures["error"] < 1e-8
    # The root looks at float32, so the last digits of a sum may tip a rounding.
    assert figures["centre_error"] < 1e-6
    assert figures["centre_spread"] == 0
    assert figures["atoms"] < 480


def test_a_rank_without_atoms_contributes_nothing():
    part = partial_amplitude("Cu", np.zeros((0, 3)), peak_grid(), energy_keV=ENERGY_KEV)
    assert part.shape == SHAPE
    assert not part.any()


def test_positions_that_are_not_finite_make_the_pattern_so_and_leave_the_grid():
    """One broken rank must not raise alone: the others would wait for it in the sum."""
    positions = crystal()
    positions[7, 1] = np.nan
    subject = detector()
    before = subject.grid.centre
    found = look(subject, positions)
    assert found is not None
    assert found.dtype == np.float32
    assert np.isnan(found).all()
    assert (subject.grid.centre == before).all()


def test_the_grid_follows_a_strained_crystal():
    """4 % longer lattice spacings: the peak sits at G/1.04, and the next grid within a quarter voxel of it."""
    subject = detector()
    fixed = detector(follow_peak=False)
    for _ in range(3):
        look(subject, crystal() * 1.04)
        look(fixed, crystal() * 1.04)
    offset, fixed_offset = (
        np.abs(2 * np.pi / A / 1.04 - one.grid.centre) / np.diag(one.grid.step) for one in (subject, fixed)
    )
    assert offset.max() < 0.25
    assert fixed_offset.min() > 0.7


def test_the_peak_shift_is_counted_from_the_centre_voxel():
    intensity = np.zeros((8, 9, 10))
    intensity[6, 4, 3] = 2.0
    assert peak_shift(intensity) == pytest.approx([2, 0, -2])
    assert not peak_shift(np.zeros((8, 9, 10))).any()


if __name__ == "__main__":
    sys.exit(main())
