"""The commands ``simulate`` and ``generate``. Free of torch at the top."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, tell
from cdi.help_examples import add_examples
from cdi.progress import add_progress_argument

if TYPE_CHECKING:
    from data.recipe import Recipe

SIMULATE_EXAMPLES = """
cdi simulate --element Au --defect edge --reflection 1 1 1 --shape 64 --oversampling 3 --output edge.h5
cdi simulate --atoms md.dump --element Cu --reflection 1 1 1 --shape 128 --oversampling 2.5 --output md.h5
cdi simulate --element Au --crystal-shape wulff --diameter-A 3000 --elasticity anisotropic --reflection 1 1 1 \\
    --defect dissociated surface-strain --scan examples/scan.yaml --detector examples/detector.yaml --output scan.h5
"""
GENERATE_EXAMPLES = """
cdi generate examples/recipes/small.yaml --output output/small
cdi generate examples/recipes/crystals.yaml samples=2000 reflection_count=3 --output output/crystals --processes 8
mpiexec -n 64 cdi generate examples/recipes/crystals.yaml samples=200000 --output output/large
"""

OF_A_BUILT_CRYSTAL = {
    "crystal_shape": "shape", "diameter_A": "diameter_A", "defect": "defects", "burgers": "burgers",
    "elasticity": "elasticity", "width_A": "width_A",
}  # fmt: skip
"""Options of a built crystal, and the fields of ``data.built_crystal.BuiltCrystal`` that they fill."""


def add_crystal_arguments(parser: ArgumentParser) -> Any:
    """Options that name a crystal, of a file or built; returns the group of the file's."""
    atoms = parser.add_argument_group("atoms of a file")
    atoms.add_argument("--atoms", type=str, default=None, metavar="FILE", help="extxyz, LAMMPS dump or LAMMPS data")
    atoms.add_argument(
        "--element", nargs="+", type=str, default=None, metavar="X",
        help="elements of the LAMMPS types; of a built crystal, or a compound such as NaCl",
    )  # fmt: skip
    built = parser.add_argument_group("a crystal built instead (with --element)")
    built.add_argument(
        "--crystal-shape", type=str, default=None, metavar="NAME",
        help="truncated-octahedron (default), sphere, ellipsoid, rod, cube, wulff or polyhedron",
    )  # fmt: skip
    built.add_argument("--diameter-A", type=float, default=None, help="of the ball of equal volume, in Å (default 150)")
    built.add_argument(
        "--defect", nargs="+", type=str, default=None, metavar="NAME",
        help="one or more of edge, screw, mixed, dissociated, loop, partial-loop, frank-loop, curved, junction, "
        "stacking-fault, twin, vacancies, void, surface-strain",
    )  # fmt: skip
    built.add_argument("--burgers", nargs=3, type=float, default=None, metavar="B", help="in fractions of the cell")
    built.add_argument(
        "--elasticity", type=str, default=None, help="isotropic (default) or anisotropic, straight lines"
    )
    built.add_argument("--width-A", type=float, default=None, help="of a dissociated pair (default: its equilibrium)")
    crystal = parser.add_argument_group("lattice and orientation")
    crystal.add_argument("--lattice-constant", type=float, default=None, help="in Å (default: the element's)")
    crystal.add_argument(
        "--structure", type=str, default=None, help="fcc, bcc, hcp, diamond, rock-salt (default: the element's)"
    )
    crystal.add_argument("--x-axis", nargs=3, type=float, default=None, metavar="U", help="crystal direction along x")
    crystal.add_argument("--z-axis", nargs=3, type=float, default=None, metavar="U", help="crystal direction along z")
    return atoms


def built_options(arguments: Namespace) -> dict[str, Any]:
    """Fields of ``data.built_crystal.BuiltCrystal`` that were given.

    Raises
    ------
    ValueError
        If any was, or there is no single element, where it does not fit with or without ``--atoms``.
    """
    given = {name: arguments[name] for name in OF_A_BUILT_CRYSTAL if arguments[name] is not None}
    if arguments.atoms is not None and given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(f"{names} must be left out with --atoms: the file holds the crystal")
    if arguments.atoms is None and (arguments.element is None or len(arguments.element) != 1):
        raise ValueError("give --atoms FILE, or one --element to build a crystal of")
    fields = {OF_A_BUILT_CRYSTAL[name]: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    if fields.get("defects") == ("none",):
        fields["defects"] = ()
    return fields


def _add_simulate_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, SIMULATE_EXAMPLES)
    parser.add_argument("--reflection", nargs=3, type=int, required=True, metavar=("H", "K", "L"))
    grid = parser.add_argument_group("grid of q, along the laboratory's axes or as a rocking curve samples it")
    grid.add_argument("--shape", nargs="+", type=int, default=None, metavar="N", help="voxels: N, or N N N")
    grid.add_argument(
        "--oversampling", nargs="+", type=float, default=None, metavar="X", help="at least 2: X, or one an axis"
    )
    grid.add_argument(
        "--scan", type=str, default=None, metavar="FILE.yaml", help="a rocking curve instead (examples/scan.yaml)"
    )
    parser.add_argument("--output", type=str, required=True, metavar="OUT.h5", help="pattern (docs/format.md)")
    atoms = add_crystal_arguments(parser)
    atoms.add_argument(
        "--lines", type=str, default=None, metavar="FILE", help="their dislocation lines, of cdi relax or cdi lines"
    )
    exposure = parser.add_argument_group("exposure")
    exposure.add_argument(
        "--energy-keV", type=float, default=None, help="photon energy, for dispersion (default 9; a scan has its own)"
    )
    exposure.add_argument(
        "--route", type=str, default="auto",
        help="nufft, direct (its float64 check), object (an FFT, built crystals only), or auto (default): "
        "nufft up to 10⁷ atoms, object beyond",
    )  # fmt: skip
    exposure.add_argument(
        "--peak-counts", type=float, default=None, help="add Poisson counts with this mean in the brightest voxel"
    )
    exposure.add_argument(
        "--detector", type=str, default=None, metavar="FILE.yaml", help="beam and detector (examples/detector.yaml)"
    )
    exposure.add_argument("--seed", type=int, default=None, help="of the counts, and of vacancies (default 0)")
    parser.add_argument("--picture", action=ActionYesNo(no_prefix="no-"), default=True, help="write OUT.png beside")
    add_json_argument(parser)
    parser.add_argument(
        "--overwrite", action=ActionYesNo(no_prefix="no-"), default=False, help="replace an existing output"
    )


def _simulate(arguments: Namespace) -> None:
    import numpy as np

    from cdi.scattering.amplitude import DEFAULT_ENERGY_KEV
    from cdi.whole_file import check_output, whole_file
    from data.pattern_store import write_pattern
    from data.simulation import check_exposure, simulate_pattern

    output = check_output(arguments.output, overwrite=arguments.overwrite)
    picture = output.with_suffix(".png")
    if arguments.picture:
        check_output(picture, overwrite=arguments.overwrite)
    reflection = tuple(arguments.reflection)
    sampling = _sampling(arguments)
    energy_keV = sampling.energy_keV if arguments.scan else DEFAULT_ENERGY_KEV
    if arguments.energy_keV is not None:
        energy_keV = arguments.energy_keV
    check_exposure(energy_keV=energy_keV, route=arguments.route, peak_counts=arguments.peak_counts, seed=arguments.seed)
    expose = _exposing(arguments)
    if expose is not None and min(sampling.shape) < 8:
        raise ValueError(f"shape must have at least 8 voxels a side to be counted, got {sampling.shape}")
    specimen, grid, orientation = _specimen(arguments, reflection, sampling)
    pattern = simulate_pattern(specimen, reflection, grid, energy_keV=energy_keV, route=arguments.route)
    exposure = expose(pattern, np.random.default_rng(arguments.seed or 0)) if expose else None
    given = {key: value for key, value in arguments.as_dict().items() if value is not None}
    attributes = {
        "energy_keV": energy_keV,
        "orientation": orientation,
        "atoms": 0 if specimen.atoms is None else len(specimen.atoms),
        "elements": " ".join(specimen.elements),
        "command": yaml.safe_dump(given, sort_keys=False),
    }
    with whole_file(output, overwrite=arguments.overwrite) as temporary:
        write_pattern(temporary, pattern, exposure=exposure, lines=specimen.lines, attributes=attributes)
        if arguments.picture:
            with whole_file(picture, overwrite=arguments.overwrite) as temporary_picture:
                _draw(temporary_picture, specimen, pattern, exposure)
    tell(arguments, *_told(specimen, pattern, exposure, output, picture if arguments.picture else None))


def _told(
    specimen: Any, pattern: Any, exposure: Any, output: Path, picture: Path | None
) -> tuple[dict[str, Any], list[str]]:
    """What was simulated, for machines and for people."""
    shape = list(pattern.grid.shape)
    brightest = float(pattern.intensity.max() if exposure is None else exposure.counts.max())
    told = {
        "output": output, "picture": picture, "specimen": specimen.size, "elements": list(specimen.elements),
        "reflection": [int(n) for n in pattern.reflection], "shape": shape,
        "unit": "electrons^2" if exposure is None else "photons", "brightest": brightest,
        "lines": None if specimen.lines is None else len(specimen.lines),
    }  # fmt: skip
    peak = f"{brightest:.4g} electrons²" if exposure is None else f"{brightest:.0f} photons"
    return told, [f"{output}: {specimen.size}, {' × '.join(map(str, shape))} voxels, brightest voxel {peak}"]


def _exposing(arguments: Namespace) -> "Callable[[Any, Any], Any] | None":
    """How a pattern becomes counts, from --peak-counts and --detector; None keeps the noise-free intensity."""
    if arguments.detector is None:
        if arguments.peak_counts is None:
            return None
        return lambda pattern, generator: _counted(pattern, arguments.peak_counts, generator)
    from dataclasses import replace

    from cdi.config import read_config
    from cdi.detector.model import DetectorModel

    detector = read_config(DetectorModel, arguments.detector)
    if arguments.peak_counts is not None:
        detector = replace(detector, peak_counts=arguments.peak_counts, total_counts=None)
    if detector.peak_counts is None and detector.total_counts is None:
        raise ValueError(f"{arguments.detector} must set peak_counts or total_counts, or give --peak-counts")
    if detector.crop is not None or tuple(detector.binning) != (1, 1, 1):
        raise ValueError(f"crop and binning of {arguments.detector} must be left out: choose --shape instead")
    return lambda pattern, generator: detector.expose(pattern.intensity, pattern.grid, generator)


def _counted(pattern: Any, peak_counts: float, generator: Any) -> Any:
    from cdi.detector.counting import photon_counts
    from cdi.pattern import Exposure

    return Exposure(photon_counts(pattern.intensity, peak_counts=peak_counts, generator=generator), pattern.grid)


def _sampling(arguments: Namespace) -> Any:
    """The rocking curve's configuration, or shape and oversampling of an orthogonal grid."""
    import numpy as np

    from cdi.config import read_config
    from cdi.grid import QGrid
    from data.scan_config import ScanConfig

    given = [name for name in ("shape", "oversampling", "energy_keV") if arguments[name] is not None]
    if arguments.scan is not None:
        if given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ValueError(f"{names} must be left out with --scan: the file says them")
        return read_config(ScanConfig, arguments.scan)
    if arguments.shape is None or arguments.oversampling is None:
        raise ValueError("give --shape and --oversampling, or --scan FILE.yaml")
    shape = tuple(arguments.shape * 3 if len(arguments.shape) == 1 else arguments.shape)
    if len(shape) != 3 or len(arguments.oversampling) not in (1, 3):
        raise ValueError(
            f"shape and oversampling must be 1 or 3 numbers, got {arguments.shape} and {arguments.oversampling}"
        )
    return QGrid.orthogonal(np.zeros(3), np.ones(3), arguments.oversampling, shape)


def _specimen(arguments: Namespace, reflection: Any, sampling: Any) -> tuple[Any, Any, Any]:
    """What is exposed, on which grid, and how its crystal stands."""
    from data.built_crystal import BuiltCrystal
    from data.formats.atom_files import read_atoms
    from data.molecular_dynamics.lines_file import read_lines
    from data.simulation import (
        lattice_of,
        orientation_from_axes,
        orthogonal_grid,
        specimen_from_atoms,
        specimen_from_crystal,
        turned_atoms,
    )

    built = built_options(arguments)
    if arguments.lines is not None and arguments.atoms is None:
        raise ValueError("--lines must come with --atoms: a built crystal knows its own")
    atoms = None if arguments.atoms is None else read_atoms(arguments.atoms, arguments.element)
    elements = tuple(arguments.element) if atoms is None else atoms.elements
    lattice = lattice_of(elements, arguments.lattice_constant, arguments.structure)
    orientation = orientation_from_axes(arguments.x_axis, arguments.z_axis)
    scan = sampling.of_reflection(orientation @ lattice.reflection_vector(reflection)) if arguments.scan else None
    if scan is not None:
        orientation = scan.sample_rotation @ orientation
    if atoms is None:
        specimen = specimen_from_crystal(
            BuiltCrystal(**built), lattice, orientation, reflection, arguments.route, arguments.seed or 0
        )
    else:
        found = None if arguments.lines is None else read_lines(arguments.lines)
        if scan is not None:
            atoms, found = turned_atoms(atoms, found, scan.sample_rotation)
        specimen = specimen_from_atoms(atoms, lattice, orientation, reflection, found)
    grid = orthogonal_grid(specimen, sampling.shape, arguments.oversampling) if scan is None else scan.grid()
    return specimen, grid, orientation


def _draw(path: Path, specimen: Any, pattern: Any, exposure: Any) -> None:
    from cdi.picture import save_pattern_picture

    hkl = " ".join(map(str, pattern.reflection))
    save_pattern_picture(
        path,
        pattern.intensity if exposure is None else exposure.counts,
        grid=pattern.grid,
        mask=None if exposure is None else exposure.mask,
        unit="electrons²" if exposure is None else "photons",
        title=f"{' '.join(specimen.elements)} ({hkl}), {specimen.size}",
        lines=[line.points for line in specimen.lines or ()],
        outline=specimen.outline,
    )


def _add_generate_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, GENERATE_EXAMPLES)
    parser.add_argument("recipe", type=str, metavar="RECIPE.yaml", help="what to draw (examples/recipes)")
    parser.add_argument("overrides", nargs="*", type=str, metavar="key=value", help="changes to the recipe")
    parser.add_argument("--output", type=str, required=True, metavar="DIR", help="made, or resumed")
    parser.add_argument("--processes", type=int, default=None, help="default: one a core; under mpiexec the ranks")
    add_json_argument(parser)
    add_progress_argument(parser)


def _generate(arguments: Namespace) -> None:
    from cdi.config import read_config
    from cdi.launched import available_cores, launched_size
    from data.recipe import Recipe

    def read_recipe() -> Recipe:
        return read_config(Recipe, arguments.recipe, list(arguments.overrides or []))

    if (launched_size() or 1) > 1:
        made = _generate_over_ranks(arguments, read_recipe)
        if made is None:  # a rank that does not speak
            return
        joined, recipe = made
    else:
        from data.generation import generate as generate_dataset

        recipe = read_recipe()
        processes = available_cores() if arguments.processes is None else arguments.processes
        joined = generate_dataset(recipe, arguments.output, processes=processes, progress=arguments.progress)
    exposures = f", {recipe.reflection_count} exposures each," if recipe.reflection_count > 1 else ""
    told = {
        "output": joined, "samples": recipe.samples, "reflection_count": recipe.reflection_count,
        "shape": list(recipe.shape),
    }  # fmt: skip
    size = " × ".join(map(str, recipe.shape))
    tell(arguments, told, [f"{joined}: {recipe.samples} samples{exposures} of {size} voxels"])


def _generate_over_ranks(arguments: Namespace, read_recipe: Callable[[], "Recipe"]) -> "tuple[Path, Recipe] | None":
    """Be one of the ranks that a launcher started."""
    from cdi.errors import MissingDependencyError, optional_import
    from cdi.launched import launched_rank, share_cores

    share_cores()
    try:
        optional_import("mpi4py.MPI", group="mpi", purpose="generation over MPI ranks")
    except MissingDependencyError:
        if launched_rank() == 0:
            raise
        raise SystemExit(2) from None
    from data.mpi_generation import generate_over_ranks

    def recipe_of_the_ranks() -> "Recipe":
        if arguments.processes is not None:
            raise ValueError("--processes must be left out under an MPI launcher: its ranks are the processes")
        return read_recipe()

    return generate_over_ranks(recipe_of_the_ranks, Path(arguments.output), progress=arguments.progress)


simulate = Command(
    "simulate",
    "the diffraction pattern of atoms in a file or of a built crystal",
    _add_simulate_arguments,
    _simulate,
    "nothing was written",
)
generate = Command(
    "generate",
    "a data set of dislocated crystals with their truth, from a recipe",
    _add_generate_arguments,
    _generate,
    "whole files are kept in --output, and the same command goes on",
)
