"""The commands ``relax``, ``lines`` and ``relaxed-set``. Free of torch and of MPI at the top."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, tell
from cdi.errors import RunError
from cdi.help_examples import add_examples
from cdi.progress import add_progress_argument
from data.cli import add_crystal_arguments, built_options

if TYPE_CHECKING:
    from cdi.atoms import Atoms
    from data.molecular_dynamics.dxa import ExtractedLine
    from data.molecular_dynamics.relaxation import RelaxConfig, Relaxed


RELAX_EXAMPLES = """
cdi relax --element Cu --potential Cu_mishin1 --diameter-A 70 --defect screw --output cu.extxyz
cdi relax --atoms given.extxyz --potential Al_zhou.eam.alloy --anneal-K 300 --output relaxed.extxyz
mpiexec -n 4 cdi relax --element Cu --potential Cu_mishin1 --diameter-A 200 --defect edge --output large.extxyz
"""
LINES_EXAMPLES = """
cdi lines md.dump --element Cu --output lines.json
cdi lines relaxed.extxyz --output lines.json && cdi simulate --atoms relaxed.extxyz --lines lines.json \\
    --reflection 1 1 1 --shape 64 --oversampling 3 --output pattern.h5
"""
RELAXED_SET_EXAMPLES = """
cdi relaxed-set examples/recipes/relaxed.yaml --output output/relaxed
cdi relaxed-set examples/recipes/relaxed.yaml samples=10 --output output/tiers/T2-relaxed --processes 2
"""


@dataclass(frozen=True)
class _Job:
    """What is to be relaxed and how; ``lattice`` is what the report says of a built one."""

    atoms: "Atoms"
    config: "RelaxConfig"
    structure: str
    lattice: dict[str, Any]


def _add_output_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--picture", action=ActionYesNo(no_prefix="no-"), default=True, help="draw the lines: OUT.png")
    add_json_argument(parser)
    parser.add_argument(
        "--overwrite", action=ActionYesNo(no_prefix="no-"), default=False, help="replace existing outputs"
    )


def _add_relax_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, RELAX_EXAMPLES)
    parser.add_argument("--potential", type=str, required=True, metavar="NAME", help="of LAMMPS, or an EAM file")
    parser.add_argument(
        "--output", type=str, required=True, metavar="OUT.extxyz", help="relaxed atoms; OUT.json: report and lines"
    )
    add_crystal_arguments(parser)
    minimum = parser.add_argument_group("minimisation")
    minimum.add_argument("--minimiser", type=str, default="cg", help="cg (default) or fire")
    minimum.add_argument("--force-tolerance", type=float, default=1e-3, help="largest force left, eV/Å (default 0.001)")
    minimum.add_argument("--max-iterations", type=int, default=10_000, help="default 10000")
    minimum.add_argument(
        "--anchored-shell-A", type=float, default=0.0,
        help="depth in Å below the surface within which atoms keep their places, so that lines stay (default 0: free)",
    )  # fmt: skip
    annealing = parser.add_argument_group("annealing before it")
    annealing.add_argument("--anneal-K", type=float, default=None, help="temperature; without it, none")
    annealing.add_argument("--anneal-ps", type=float, default=None, help="time at it (default 10)")
    annealing.add_argument("--cool-ps", type=float, default=None, help="time of cooling (default 5)")
    annealing.add_argument(
        "--seed", type=int, default=None, help="of the motion (default 1), and of vacancies (default 0)"
    )
    annealing.add_argument(
        "--quench", action=ActionYesNo(no_prefix="no-"), default=None, help="cool and minimise after it (default yes)"
    )
    parser.add_argument("--dxa", action=ActionYesNo(no_prefix="no-"), default=True, help="find the dislocation lines")
    add_progress_argument(parser)
    _add_output_arguments(parser)


def _relax(arguments: Namespace) -> None:
    from data.molecular_dynamics.lammps_engine import from_root, world

    ranks = world()
    job = from_root(ranks, lambda: _job(arguments))
    try:
        relaxed = _relaxed(job, ranks, shown=arguments.progress)
    except (RunError, ValueError) as error:
        if ranks.size > 1:  # the other ranks may wait inside LAMMPS for ever
            print(f"cdi: {error}", file=sys.stderr, flush=True)
            ranks.Abort(1)
        raise
    if ranks.rank == 0:
        _finish(arguments, job, relaxed)
    if relaxed.interrupted:
        raise KeyboardInterrupt(
            f"{arguments.output} holds the atoms as they were then; go on from them with: cdi relax --atoms "
            f"{arguments.output} --potential {arguments.potential} --output OUT.extxyz"
        )


def _relaxed(job: _Job, ranks: Any, *, shown: bool) -> "Relaxed":
    """The atoms at rest, with a bar of how far the largest force has come down."""
    from data.molecular_dynamics.relaxation import relax as relax_atoms
    from data.molecular_dynamics.relaxation_progress import relaxation_bar

    with relaxation_bar(shown=shown and ranks.rank == 0) as look:
        return relax_atoms(job.atoms, job.config, ranks, look=look, keep_interrupted=True)


def _job(arguments: Namespace) -> _Job:
    from data.molecular_dynamics.dxa import require_ovito
    from data.molecular_dynamics.lammps_engine import require_lammps
    from data.molecular_dynamics.potential import common_potential
    from data.molecular_dynamics.relaxation import RelaxConfig

    _outputs(arguments, *(("", ".json", ".png") if _draws(arguments) else ("", ".json")))
    config = RelaxConfig(
        arguments.potential, arguments.minimiser, arguments.force_tolerance, arguments.max_iterations,
        _annealing(arguments), arguments.anchored_shell_A,
    )  # fmt: skip
    require_lammps()
    if arguments.dxa:
        require_ovito()
    atoms, structure, lattice = (_given if arguments.atoms is not None else _built)(arguments)
    common_potential(config.potential, atoms.elements)
    return _Job(atoms, config, structure, lattice)


def _annealing(arguments: Namespace) -> Any:
    from data.molecular_dynamics.relaxation import Annealing

    names = {"anneal_ps": "time_ps", "cool_ps": "cooling_ps", "seed": "seed", "quench": "quench"}
    given = {field: arguments[name] for name, field in names.items() if arguments[name] is not None}
    if arguments.anneal_K is not None:
        return Annealing(arguments.anneal_K, **given)
    if arguments.atoms is None:
        given.pop("seed", None)  # it draws the sites that a built crystal's defects leave empty
    if given:
        raise ValueError(
            "--anneal-ps, --cool-ps, --quench and --seed must come with --anneal-K: nothing else is random"
        )
    return None


def _given(arguments: Namespace) -> tuple[Any, str, dict[str, Any]]:
    """Atoms of a file, and the structure in which DXA shall see them."""
    from data.formats.atom_files import read_atoms
    from data.molecular_dynamics.potential import common_potential

    built_options(arguments)
    unused = [name for name in ("lattice_constant", "x_axis", "z_axis") if arguments[name] is not None]
    if unused:
        names = ", ".join("--" + name.replace("_", "-") for name in unused)
        raise ValueError(f"{names} must be left out with --atoms: the file holds the crystal")
    atoms = read_atoms(arguments.atoms, arguments.element)
    structure = arguments.structure or common_potential(arguments.potential, atoms.elements).structure
    return atoms, structure, {}


def _built(arguments: Namespace) -> tuple[Any, str, dict[str, Any]]:
    """A built crystal on the potential's own lattice, unless a constant was given."""
    import numpy as np

    from data.built_crystal import BuiltCrystal, build_crystal
    from data.molecular_dynamics.equilibrium import equilibrium_lattice
    from data.molecular_dynamics.potential import common_potential
    from data.simulation import lattice_of, orientation_from_axes

    built = BuiltCrystal(**built_options(arguments))
    orientation = orientation_from_axes(arguments.x_axis, arguments.z_axis)
    elements = tuple(arguments.element)
    potential = common_potential(arguments.potential, elements)
    constant = arguments.lattice_constant
    lattice = lattice_of(elements, constant or potential.lattice_constant, arguments.structure or potential.structure)
    if constant is None:
        lattice = equilibrium_lattice(lattice, arguments.potential)
    atoms = build_crystal(built, lattice, orientation).atoms(np.random.default_rng(arguments.seed or 0))
    return atoms, lattice.structure, {"cell_A": lattice.cell.tolist(), "orientation": orientation.tolist()}


def _finish(arguments: Namespace, job: _Job, relaxed: "Relaxed") -> None:
    from cdi.whole_file import whole_file
    from data.formats.atom_files import write_atoms
    from data.molecular_dynamics.dxa import extract_lines
    from data.molecular_dynamics.lines_file import line_to_json, write_lines

    output = Path(arguments.output)
    # First what took long: a failing analysis must not lose it.
    with whole_file(output, overwrite=arguments.overwrite) as path:
        write_atoms(path, relaxed.atoms)
    before, after = (
        extract_lines(atoms.positions, job.structure) if arguments.dxa else None for atoms in (job.atoms, relaxed.atoms)
    )
    figures = {name: value for name, value in vars(relaxed).items() if name != "atoms"}
    report = {"atoms": output.name, **job.lattice, "relaxation": asdict(job.config) | figures}
    report["lines_before"] = None if before is None else [line_to_json(line) for line in before]
    with whole_file(output.with_suffix(".json"), overwrite=arguments.overwrite) as path:
        write_lines(path, after, job.structure, report)
    if _draws(arguments):
        _draw(arguments, relaxed.atoms, after or (), before or (), f"{arguments.potential}, relaxed")
    said = [_summary(output, job, relaxed)]
    if before is not None and after is not None:
        left = "; none stayed, surfaces draw them out of a small crystal" if before and not after else ""
        said.append(f"dislocation lines: {_lines(before)} as given, {_lines(after)} relaxed{left}")
    told = {
        "output": output, "report": output.with_suffix(".json"), "atoms": len(relaxed.atoms), **figures,
        "lines_before": None if before is None else len(before), "lines": None if after is None else len(after),
    }  # fmt: skip
    tell(arguments, told, said)


def _summary(output: Path, job: _Job, relaxed: "Relaxed") -> str:
    reached = relaxed.largest_force_eV_A <= job.config.force_tolerance_eV_A
    constant = f", lattice constant {job.lattice['cell_A'][0][0]:.5f} Å" if job.lattice else ""
    return (
        f"{output}: {len(relaxed.atoms)} atoms{constant}, {relaxed.energy_before_eV:.5f} to "
        f"{relaxed.energy_after_eV:.5f} eV per atom in {relaxed.iterations} iterations, largest force "
        f"{relaxed.largest_force_eV_A:.2g} eV/Å{'' if reached else ' (above the tolerance)'}, "
        f"moved {relaxed.displacement_rms_A:.3g} Å rms"
    )


def _lines(lines: Sequence["ExtractedLine"]) -> str:
    return f"{len(lines)} ({sum(entry.line.length for entry in lines):.0f} Å)"


def _add_lines_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, LINES_EXAMPLES)
    parser.add_argument("file", type=str, metavar="FILE", help="extxyz, LAMMPS dump or LAMMPS data")
    parser.add_argument("--output", type=str, required=True, metavar="OUT.json", help="for cdi simulate --lines")
    parser.add_argument("--element", nargs="+", type=str, default=None, help="elements of the LAMMPS types")
    parser.add_argument("--structure", type=str, default=None, help="fcc, bcc, hcp, diamond (default: the element's)")
    _add_output_arguments(parser)


def _find_lines(arguments: Namespace) -> None:
    from cdi.whole_file import whole_file
    from data.formats.atom_files import read_atoms
    from data.molecular_dynamics.dxa import extract_lines
    from data.molecular_dynamics.lines_file import write_lines
    from data.molecular_dynamics.snapshot import read_cell
    from data.simulation import lattice_of

    _outputs(arguments, *(("", ".png") if arguments.picture else ("",)))
    atoms = read_atoms(arguments.file, arguments.element)
    structure = arguments.structure or lattice_of(atoms.elements, None, None).structure
    found = extract_lines(atoms.positions, structure, read_cell(arguments.file))
    with whole_file(arguments.output, overwrite=arguments.overwrite) as path:
        write_lines(path, found, structure, {"atoms": Path(arguments.file).name})
    if arguments.picture:
        _draw(arguments, atoms, found, (), Path(arguments.file).name)
    told = {
        "output": arguments.output, "atoms": len(atoms), "structure": structure, "lines": len(found),
        "length_A": float(sum(entry.line.length for entry in found)),
    }  # fmt: skip
    tell(arguments, told, [f"{arguments.output}: {len(atoms)} atoms, dislocation lines: {_lines(found)}"])


def _draws(arguments: Namespace) -> bool:
    return bool(arguments.picture and arguments.dxa)


def _outputs(arguments: Namespace, *suffixes: str) -> None:
    """Raise unless every output may be written: ``--output`` itself ("") and what lies beside it."""
    from cdi.whole_file import check_output

    output = Path(arguments.output)
    if output.suffix in suffixes:
        raise ValueError(f"output must not end in {output.suffix}, which another output takes, got {output}")
    for suffix in suffixes:
        check_output(output.with_suffix(suffix) if suffix else output, overwrite=arguments.overwrite)


def _draw(
    arguments: Namespace,
    atoms: "Atoms",
    lines: Sequence["ExtractedLine"],
    dashed: Sequence["ExtractedLine"],
    title: str,
) -> None:
    from cdi.picture import PLANES, draw_lines, new_figure, save_figure
    from cdi.whole_file import whole_file

    figure = new_figure(11, 4)
    for axes, plane in zip(figure.subplots(1, 3), PLANES, strict=True):
        draw_lines(axes, [entry.line.points for entry in dashed], plane, style=":")
        draw_lines(axes, [entry.line.points for entry in lines], plane, outline=atoms.positions)
    before = ", dotted: as given" if dashed else ""
    figure.suptitle(f"{title}: {len(atoms):,} atoms, dislocation lines {_lines(lines)}{before}")
    with whole_file(Path(arguments.output).with_suffix(".png"), overwrite=arguments.overwrite) as path:
        save_figure(figure, path)


def _add_relaxed_set_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, RELAXED_SET_EXAMPLES)
    parser.add_argument("recipe", type=str, metavar="RECIPE.yaml", help="what to relax (examples/recipes/relaxed.yaml)")
    parser.add_argument("overrides", nargs="*", type=str, metavar="key=value", help="changes to the recipe")
    parser.add_argument("--output", type=str, required=True, metavar="DIR", help="made, or resumed")
    parser.add_argument("--processes", type=int, default=None, help="default: one a core")
    add_json_argument(parser)
    add_progress_argument(parser)


def _relaxed_set(arguments: Namespace) -> None:
    from cdi.config import read_config
    from cdi.launched import available_cores
    from data.molecular_dynamics.relaxed_recipe import RelaxedRecipe
    from data.molecular_dynamics.relaxed_samples import relaxed_set as make

    recipe = read_config(RelaxedRecipe, arguments.recipe, list(arguments.overrides or []))
    processes = available_cores() if arguments.processes is None else arguments.processes
    joined = make(recipe, arguments.output, processes=processes, progress=arguments.progress)
    told = {"output": joined, "samples": recipe.samples, "reflection_count": recipe.reflection_count}
    said = f"{joined}: {recipe.samples} relaxed crystals in {recipe.reflection_count} reflections each"
    tell(arguments, told, [said])


relax = Command(
    "relax",
    "a crystal at rest in an interatomic potential, and its dislocations",
    _add_relax_arguments,
    _relax,
    "nothing was written yet; under an MPI launcher nothing is kept",
)
lines = Command(
    "lines",
    "the dislocation lines of atoms in a file, by OVITO's DXA",
    _add_lines_arguments,
    _find_lines,
    "nothing was written",
)
relaxed_set = Command(
    "relaxed-set",
    "a data set of relaxed crystals with the lines that are left, from a recipe",
    _add_relaxed_set_arguments,
    _relaxed_set,
    "whole files are kept in --output, and the same command goes on",
)
