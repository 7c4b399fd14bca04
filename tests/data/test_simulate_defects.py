"""Crystals built by name for ``cdi simulate``: two routes to one number for every defect, shape and structure.

The Bragg object drops exp(iq·u) and smooths the surface over a voxel; atoms know neither approximation. At 100 Å, where
both are worst, their complex amplitudes still agree.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest
from checks_of_data import REPOSITORY, assert_one_line, run_cdi
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cdi.crystal import Crystal
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import DiffractionPattern, Exposure, Reflection
from cdi.scattering.forward import CrystalRoute, amplitudes
from data.built_crystal import DEFECTS, DIAMETER_LIMITS_A, BuiltCrystal, build_crystal
from data.cli import simulate
from data.pattern_store import write_pattern
from data.recipe import CRYSTAL_SHAPES
from data.simulation import check_exposure, lattice_of, orientation_from_axes, specimen_from_crystal

Array = NDArray[np.float64]
Volume = NDArray[np.complex128]
TURNED = orientation_from_axes((1, -1, 0), (1, 1, 2))
"""No cube axis lies along the laboratory's."""
IN_ANY_LATTICE = (
    "screw", "mixed", "edge", "loop", "curved", "junction", "vacancies", "void", "surface-strain",
)  # fmt: skip
WITHOUT_CORE = ("stacking-fault", "twin", "vacancies", "void", "surface-strain")
CORE_A = 6.0
"""Around a line linear elasticity promises nothing."""


def built(formula: str, reflection: Reflection, *defects: str, shape: str = "truncated-octahedron") -> Crystal:
    """A turned crystal of 100 Å."""
    words = BuiltCrystal(shape=shape, diameter_A=100, defects=defects, width_A=20 if "dissociated" in defects else None)
    return build_crystal(words, Lattice.of_material(formula), TURNED, reflection)


def amplitude_by(route: CrystalRoute, crystal: Crystal, reflection: Reflection) -> Volume:
    """On an uneven grid around the reflection, oversampling by 2.6."""
    centre, extent = crystal.reflection_vector(reflection), crystal.shape.extent(np.eye(3))
    grid = QGrid.orthogonal(centre, extent, 2.6, (20, 24, 22))
    generator = np.random.default_rng(3)
    return np.asarray(amplitudes(crystal, [(reflection, grid)], route=route, generator=generator)[0].numpy())


def overlap(crystal: Crystal, reflection: Reflection) -> float:
    """|⟨object, atoms⟩| / ‖object‖‖atoms‖."""
    a, b = (amplitude_by(route, crystal, reflection) for route in ("object", "nufft"))
    return float(abs(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b))


def nearest(positions: Array) -> Array:
    """Distance ``(n,)`` in Å of each atom to its nearest neighbour."""
    return np.asarray(cKDTree(positions).query(positions, k=2)[0][:, 1])


@pytest.mark.parametrize("defect", DEFECTS)
def test_object_and_atoms_agree_on_every_defect(defect: str) -> None:
    """Overlap above 0.995 around Cu 111, near the parent's peak: a twinned part that added to it would leave 0.993."""
    assert overlap(built("Cu", (1, 1, 1), defect), (1, 1, 1)) > 0.995


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_changes_the_pattern(defect: str) -> None:
    """Each makes another amplitude than the perfect crystal's: none is lost on its way."""
    perfect, faulty = (amplitude_by("object", built("Cu", (1, 1, 1), *d), (1, 1, 1)) for d in ((), (defect,)))
    assert np.linalg.norm(faulty - perfect) > 0.02 * np.linalg.norm(perfect)


@pytest.mark.parametrize("defect", DEFECTS)
def test_atoms_keep_their_distance_outside_cores(defect: str) -> None:
    """At least 0.92 of a bond 6 Å and more from every line; without lines 0.97 everywhere."""
    crystal = built("Cu", (1, 1, 1), defect)
    positions = crystal.atoms(np.random.default_rng(3)).positions
    distance = nearest(positions) / (3.61 / np.sqrt(2))
    if defect in WITHOUT_CORE:
        assert crystal.lines() == ()
        assert distance.min() > 0.97
        return
    lines = [
        np.linspace(p, q, 50) for line in crystal.lines() for p, q in zip(line.points, line.points[1:], strict=False)
    ]
    away = cKDTree(np.concatenate(lines)).query(positions)[0] > CORE_A
    assert away.mean() > 0.5
    assert distance[away].min() > 0.92


@pytest.mark.parametrize("shape", CRYSTAL_SHAPES)
def test_object_and_atoms_agree_on_every_shape(shape: str) -> None:
    crystal = built("Cu", (2, 0, 0), "edge", shape=shape)
    assert crystal.shape.volume == pytest.approx(np.pi / 6 * 100**3, rel=0.02)
    assert overlap(crystal, (2, 0, 0)) > 0.99


@pytest.mark.parametrize(
    ("formula", "reflection", "defects"),
    [
        ("NaCl", (2, 0, 0), IN_ANY_LATTICE),
        ("Si", (2, 2, 0), DEFECTS),
        ("Mg", (1, 0, 0), (*IN_ANY_LATTICE, "stacking-fault")),
        ("Fe", (1, 1, 0), (*IN_ANY_LATTICE, "twin")),
    ],
)
def test_object_and_atoms_agree_on_other_structures(
    formula: str, reflection: Reflection, defects: tuple[str, ...]
) -> None:
    """Overlap above 0.97 for everything that rock salt, diamond, hcp and bcc can hold."""
    found = {defect: overlap(built(formula, reflection, defect), reflection) for defect in defects}
    assert min(found.values()) > 0.97, found


def test_several_defects_lie_side_by_side() -> None:
    crystal = built("Cu", (1, 1, 1), "edge", "loop", "void")
    assert [defect.kind for defect in crystal.defects] == ["straight dislocation", "dislocation loop", "void"]
    assert len(crystal.lines()) == 2
    assert overlap(crystal, (1, 1, 1)) > 0.99


def test_anisotropic_elasticity_moves_the_atoms_of_an_edge() -> None:
    """Copper's Zener ratio is 3.2: both fields have the same Burgers vector and differ within a bond."""
    copper = Lattice.of_material("Cu")
    words = {
        name: BuiltCrystal(diameter_A=60, defects=("edge",), elasticity=name) for name in ("isotropic", "anisotropic")
    }
    first, second = (build_crystal(w, copper, TURNED, (2, 0, 0)) for w in words.values())
    np.testing.assert_allclose(first.lines()[0].burgers, second.lines()[0].burgers)
    moved = np.linalg.norm(first.atoms().positions - second.atoms().positions, axis=1)
    assert 0.1 < np.ptp(moved) < 2.55


def test_a_large_crystal_takes_the_route_of_the_object_by_itself() -> None:
    """2000 Å of gold hold 2.5 · 10⁸ atoms: none is made. 100 Å go atom by atom."""
    gold = lattice_of(("Au",), None, None)
    large, small = (
        specimen_from_crystal(BuiltCrystal(diameter_A=size, defects=("mixed",)), gold, TURNED, (1, 1, 1), "auto")
        for size in (2000, 100)
    )
    assert large.atoms is None
    assert large.size == "2.47e+08 atoms as a Bragg object"
    assert large.lines is not None
    assert len(large.lines) == 1
    assert small.atoms is not None
    assert len(small.atoms) > 20_000


def _simulate(*arguments: object) -> None:
    parser = ArgumentParser(exit_on_error=False)
    simulate.add_arguments(parser)
    simulate.run(parser.parse_args([str(argument) for argument in arguments]))


def test_a_large_crystal_through_the_shipped_detector(tmp_path: Path) -> None:
    """examples/detector.yaml: counts below its saturation, its gap out of the mask, the truth beside them."""
    _simulate("--element", "Au", "--diameter-A", 2000, "--defect", "mixed", "--reflection", 1, 1, 1,
              "--shape", 24, 26, 64, "--oversampling", 3, "--detector", REPOSITORY / "examples" / "detector.yaml",
              "--output", tmp_path / "out.h5")  # fmt: skip
    with h5py.File(tmp_path / "out.h5") as file:
        counts, mask = file["counts"][()], file["measured"][()].astype(bool)
        assert file.attrs["atoms"] == 0
        assert len(file["truth"]["burgers_A"]) == 1
    assert 1.5e4 < counts[mask].max() < 35430
    assert not mask[:, :, 52:56].any()
    assert mask[:, :, :52].mean() > 0.99
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


CANNOT_HOLD = [
    ("NaCl", "twin", "structure must be one of .* to twin, got 'rock-salt'"),
    ("Mg", "twin", "structure must be one of .* to twin, got 'hcp'"),
    ("Fe", "stacking-fault", "structure must be one of .* to fault, got 'bcc'"),
    ("Fe", "partial-loop", "structure must be fcc or diamond to hold a partial-loop, got bcc"),
    ("NaCl", "frank-loop", "structure must be fcc or diamond to hold a frank-loop, got rock-salt"),
    ("Mg", "dissociated", "structure must be fcc or diamond to hold a dissociated line, got hcp"),
    ("Si", "dissociated", "width_A must be given for Si, whose stacking-fault energy is not known"),
]


@pytest.mark.parametrize(("formula", "defect", "message"), CANNOT_HOLD)
def test_a_defect_that_a_lattice_cannot_hold_is_refused(formula: str, defect: str, message: str) -> None:
    words = BuiltCrystal(diameter_A=100, defects=(defect,))
    with pytest.raises(ValueError, match=message):
        build_crystal(words, Lattice.of_material(formula), TURNED)


@pytest.mark.parametrize("diameter", [DIAMETER_LIMITS_A[0] / 2, DIAMETER_LIMITS_A[1] * 2, 1e300])
def test_a_diameter_beyond_all_crystals_is_refused(diameter: float) -> None:
    with pytest.raises(ValueError, match=r"diameter_A must lie in \[10, 1e\+06\]"):
        BuiltCrystal(diameter_A=diameter)


@pytest.mark.parametrize("defects", [(), ("loop",), ("curved", "void")])
def test_anisotropic_elasticity_that_nothing_uses_is_refused(defects: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="anisotropic elasticity needs a straight line: give --defect screw"):
        BuiltCrystal(defects=defects, elasticity="anisotropic")


@pytest.mark.parametrize(("symbol", "near"), [("cu", "Cu"), ("Xx", "Xe")])
def test_an_unknown_element_names_the_nearest(symbol: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"element must be a chemical symbol, got '{symbol}' .did you mean '{near}'"):
        lattice_of((symbol,), None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy_keV": -9.0}, "energy_keV must lie within the tables"),
        ({"route": "fft"}, "route must be one of auto, nufft, direct, object, got 'fft'"),
        ({"peak_counts": 0.0}, r"peak_counts must be positive and at most 1e\+09, got 0.0"),
        ({"peak_counts": 1e300}, r"peak_counts must be positive and at most 1e\+09, got 1e\+300"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_an_exposure_is_refused_before_its_specimen_is_made(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_exposure(**change)  # type: ignore[arg-type]


def test_bad_options_cost_no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an exposure nor a detector that is wrong waits for the crystal."""

    def work(*arguments: object) -> None:
        raise AssertionError("the specimen was made")

    monkeypatch.setattr("data.simulation.specimen_from_crystal", work)
    (tmp_path / "detector.yaml").write_text("peak_counts: 1.0e+4\npoint_sprad: {sigma_pixels: 0.3}\n")
    good = ("--element", "Cu", "--reflection", 1, 1, 1, "--output", tmp_path / "out.h5")
    for bad, message in (
        (("--shape", 16, "--oversampling", 1), "oversampling must be at least 2"),
        (("--shape", 16, "--oversampling", 3, "--detector", tmp_path / "detector.yaml"), "did you mean 'point_spread'"),
        (("--shape", 4, "--oversampling", 3, "--peak-counts", 100), "shape must have at least 8 voxels a side"),
    ):
        with pytest.raises(ValueError, match=message):
            _simulate(*good, *bad)
    assert [path.name for path in tmp_path.iterdir()] == ["detector.yaml"]


def test_a_request_of_a_billion_voxels_is_exit_code_2(tmp_path: Path) -> None:
    result = run_cdi("simulate", "--element", "Cu", "--reflection", 1, 1, 1, "--shape", 1000, "--oversampling", 3,
                     "--diameter-A", 3000, "--output", tmp_path / "out.h5")  # fmt: skip
    assert_one_line(result, "shape must have at most 268435456 voxels, got (1000, 1000, 1000)")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_may_not_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cdi.whole_file import check_output

    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(ValueError, match="output must lie in a directory that you may write to, got"):
        check_output(tmp_path / "out.h5", overwrite=False)


def test_counts_beyond_32_bits_are_refused_and_not_wrapped(tmp_path: Path) -> None:
    grid = QGrid(np.zeros(3), np.eye(3), (8, 9, 10))
    pattern = DiffractionPattern(np.ones(grid.shape, np.complex128), grid, (1, 1, 1))
    bright = Exposure(np.full(grid.shape, 5e9, np.float32), grid)
    with pytest.raises(ValueError, match=r"counts must fit 32 bits, got 5e\+09"):
        write_pattern(tmp_path / "out.h5", pattern, exposure=bright)
