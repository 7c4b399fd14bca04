"""Dislocation analysis of the coupled steps: truth for the reader, never an input.

During the run each simulation rank writes its own atoms to a file of its own; the analysis
(``data.molecular_dynamics.dxa``) joins them after the run.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.defects.classes import character
from data.molecular_dynamics.dxa import ExtractedLine, extract_lines

Array = NDArray[np.float64]

FOLDER = "atoms"


@dataclass(frozen=True)
class TrueLine:
    """A dislocation segment: ``points_A`` centred on the crystal, ``burgers`` in lattice units."""

    points_A: list[list[float]]
    burgers: tuple[float, float, float]
    length_A: float
    character_deg: float


@dataclass(frozen=True)
class Analysis:
    """What DXA finds at one step. ``length_A`` is the sum over the segments."""

    step: int
    lines: tuple[TrueLine, ...]

    @property
    def count(self) -> int:
        """Number of segments: partial dislocations count one each."""
        return len(self.lines)

    @property
    def length_A(self) -> float:  # noqa: N802 — the unit
        """Total length of the segments in Å."""
        return sum(line.length_A for line in self.lines)

    @property
    def defect_class(self) -> str:
        """``none``, or the character shared by all segments, ``mixed`` when they differ."""
        kinds = {character(line.character_deg) for line in self.lines}
        return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "none"

    def to_json(self) -> dict[str, Any]:
        """Plain form, with the derived figures beside the lines."""
        derived = {"count": self.count, "length_A": round(self.length_A, 2), "class": self.defect_class}
        return {"step": self.step, **derived, "lines": [asdict(line) for line in self.lines]}


def write_atoms(folder: Path, step: int, rank: int, positions: Array) -> None:
    """This rank's own atoms ``(n, 3)`` Å at ``step``, in a file of its own."""
    (folder / FOLDER).mkdir(exist_ok=True)
    np.save(_path(folder, step, rank), positions, allow_pickle=False)


def written_steps(folder: Path) -> list[int]:
    """Steps of which atoms were written."""
    return sorted({int(path.name.split(".")[0].removeprefix("step-")) for path in (folder / FOLDER).glob("step-*.npy")})


def read_atoms(folder: Path, step: int) -> Array:
    """Atoms ``(n, 3)`` Å of all ranks at ``step``."""
    parts = sorted((folder / FOLDER).glob(f"{_stem(step)}.rank-*.npy"))
    return np.concatenate([np.load(part, allow_pickle=False) for part in parts])


def analyse(positions: Array, structure: str, *, step: int = 0) -> Analysis:
    """Dislocation lines of atoms ``(n, 3)`` Å of a crystal with free surfaces."""
    centre = positions.mean(0)
    return Analysis(step, tuple(_line(found, centre) for found in extract_lines(positions, structure)))


def analyse_run(folder: Path, structure: str, *, element: str, keep_atoms: bool) -> list[Analysis]:
    """DXA of every step written in ``folder``, kept as ``dxa.json``; the per-rank files go.

    With ``keep_atoms`` the joined atoms of each step stay as extended XYZ.
    """
    analyses = []
    for step in written_steps(folder):
        positions = read_atoms(folder, step)
        analyses.append(analyse(positions, structure, step=step))
        if keep_atoms:
            _write_xyz(folder / FOLDER / f"{_stem(step)}.extxyz", element, positions)
    (folder / "dxa.json").write_text(json.dumps([analysis.to_json() for analysis in analyses]) + "\n")
    remove_parts(folder)
    return analyses


def read_analyses(folder: Path) -> list[Analysis]:
    """What ``analyse_run`` left in ``folder``; empty where it did not run."""
    path = folder / "dxa.json"
    entries = json.loads(path.read_text()) if path.is_file() else []
    return [Analysis(entry["step"], tuple(_from_json(line) for line in entry["lines"])) for entry in entries]


def remove_parts(folder: Path) -> None:
    """Remove the per-rank files, and their folder where nothing else is in it."""
    for path in (folder / FOLDER).glob("step-*.npy"):
        path.unlink()
    if (folder / FOLDER).is_dir() and not any((folder / FOLDER).iterdir()):
        (folder / FOLDER).rmdir()


def _line(found: ExtractedLine, centre: Array) -> TrueLine:
    line = found.line
    points = (line.points - centre).round(2).tolist()
    return TrueLine(points, found.burgers_lattice, round(line.length, 2), round(line.character_deg, 1))


def _from_json(entry: dict[str, Any]) -> TrueLine:
    first, second, third = entry["burgers"]
    return TrueLine(entry["points_A"], (first, second, third), entry["length_A"], entry["character_deg"])


def _stem(step: int) -> str:
    return f"step-{step:09d}"


def _path(folder: Path, step: int, rank: int) -> Path:
    return folder / FOLDER / f"{_stem(step)}.rank-{rank}.npy"


def _write_xyz(path: Path, element: str, positions: Array) -> None:
    import ase
    import ase.io

    ase.io.write(path, ase.Atoms([element] * len(positions), positions), format="extxyz")
