"""Files to pictures: patterns each by itself; crystals, atoms and lines as one. Free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cdi.drawn_crystal import DrawnCrystal, DrawnLine
from cdi.pattern import Exposure
from cdi.surface import hull_surface
from cdi.whole_file import whole_file
from data.conversion import kind_of
from data.formats.atom_files import read_atoms
from data.formats.line_files import read_line_file
from data.formats.object_files import read_object
from data.formats.pattern_files import read_exposure
from data.formats.stack import AS_THE_FILE_SAYS, StackOptions
from data.molecular_dynamics.dxa import ExtractedLine

SUFFIXES = (".png", ".html")
LONGEST_LABELS = 12
"""Lines beyond which labels would hide the picture."""


@dataclass(frozen=True, eq=False)
class Shown:
    """Patterns by name, and crystals: each an object of its own, or one of all atoms and lines."""

    patterns: tuple[tuple[str, Exposure], ...]
    crystals: tuple[DrawnCrystal, ...]


def check_picture_name(path: Path) -> None:
    """Raise ``ValueError`` unless ``path`` ends as a picture or a page."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"output must end in {' or '.join(SUFFIXES)}, got {str(path)!r}")


def read_shown(
    files: Sequence[Path],
    *,
    index: int | None = None,
    spec: str | None = None,
    scan: int | None = None,
    options: StackOptions = AS_THE_FILE_SAYS,
    element: Sequence[str] | None = None,
) -> Shown:
    """What ``files`` hold; options as for ``read_exposure`` and ``read_atoms``.

    Raises
    ------
    ValueError
        As their readers.
    """
    kinds = [(kind_of(file), file) for file in files]
    patterns = tuple(
        (file.resolve().name, read_exposure(file, index=index, spec=spec, scan=scan, options=options))
        for kind, file in kinds
        if kind == "pattern"
    )
    crystals = [read_object(file).drawn(file.name) for kind, file in kinds if kind == "crystal"]
    outlines = {file.name: read_atoms(file, element).positions for kind, file in kinds if kind == "atoms"}
    lines = [line for kind, file in kinds if kind == "lines" for line in read_line_file(file)]
    if outlines or any(kind == "lines" for kind, _ in kinds):
        title = ", ".join(file.name for kind, file in kinds if kind in ("atoms", "lines"))
        surfaces = {name: hull_surface(positions) for name, positions in outlines.items()}
        if not (surfaces or lines):
            raise ValueError(f"{title} must hold atoms or a line to draw, it holds none")
        crystals.append(DrawnCrystal(title, surfaces, tuple(drawn_lines(lines))))
    return Shown(patterns, tuple(crystals))


def drawn_lines(lines: Sequence[ExtractedLine]) -> list[DrawnLine]:
    """Lines with their Burgers vectors, labelled by them and by character."""
    if len(lines) > LONGEST_LABELS:
        return [DrawnLine(found.line.points, found.line.burgers) for found in lines]
    return [
        DrawnLine(
            found.line.points, found.line.burgers,
            f"b [{' '.join(f'{x:.2g}' for x in found.burgers_lattice)}], {found.line.character_deg:.0f}°, "
            f"{found.line.length:.0f} Å",
        )
        for found in lines
    ]  # fmt: skip


def save_shown(shown: Shown, output: Path) -> list[str]:
    """Write one page, or a PNG for each; their paths. Several PNG are numbered."""
    if output.suffix == ".html":
        from cdi.scene import crystal_scene, pattern_scene, save_page

        scenes = [pattern_scene(e.counts, e.grid, e.mask, name) for name, e in shown.patterns]
        scenes += [crystal_scene(drawn) for drawn in shown.crystals]
        with whole_file(output) as temporary:
            save_page(scenes, temporary, title=output.stem)
        return [str(output)]
    figures: list[tuple[str, Any]] = [*shown.patterns, *((drawn.title, drawn) for drawn in shown.crystals)]
    paths = [output.with_stem(f"{output.stem}-{n}") if len(figures) > 1 else output for n in range(1, len(figures) + 1)]
    for (name, content), path in zip(figures, paths, strict=True):
        with whole_file(path) as temporary:
            _save_picture(name, content, temporary)
    return [str(path) for path in paths]


def _save_picture(name: str, content: Any, path: Path) -> None:
    from cdi.picture import save_pattern_picture
    from cdi.picture3d import save_crystal_picture

    if isinstance(content, DrawnCrystal):
        save_crystal_picture(content, path)
        return
    shown = around_peak(content)
    title = f"{name}: {content.counts.sum(dtype=np.float64):.3g} counts, maximum {content.counts.max():.6g}"
    save_pattern_picture(path, shown.counts, grid=shown.grid, mask=shown.mask, unit="counts", title=title)


def around_peak(exposure: Exposure, largest: int | None = None) -> Exposure:
    """``exposure`` with its peak in the middle voxel, where the slices are; at most ``largest`` voxels a side."""
    from cdi.retrieval.framing import cropped, peak

    middle = peak(exposure)
    reach = [2 * min(m, n - 1 - m) + 1 for m, n in zip(middle.tolist(), exposure.counts.shape, strict=True)]
    if min(reach) < min(8, *exposure.counts.shape):
        return exposure
    if largest is not None:
        reach = [min(n, largest) for n in reach]
    return cropped(exposure, middle, (reach[0], reach[1], reach[2]))
