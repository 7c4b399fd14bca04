"""The end of a run: frames, truth, comparison, picture and the summary's JSON line.

What the run itself measured is written first: a failure of the dislocation analysis or of the
picture loses nothing but itself.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdi.lattices.materials import material
from inference_insitu import dxa, folder
from inference_insitu.comparison import compare
from inference_insitu.config import InsituConfig
from inference_insitu.results import read_results
from inference_insitu.simulation import Timing


def finish_run(
    output: Path, config: InsituConfig, summary: dict[str, Any], fate: dict[int, str], timing: Timing
) -> tuple[dict[str, Any], list[str]]:
    """The summary as it is printed, and what went wrong on the way, one line each.

    Writes ``frames.csv``, ``summary.json``, ``dxa.json`` (with ``truth.dxa``) and the picture.
    """
    problems: list[str] = []
    line = summary | {"dxa": None, "output": str(output)}
    write_frames(output / "frames.csv", fate, timing)
    _write_summary(output, line)
    if config.truth.dxa:
        line["dxa"] = _attempt("dislocation analysis", problems, lambda: _truth(output, config))
        _write_summary(output, line)
    _attempt("the picture", problems, lambda: _draw(output, config))
    return line, problems


def write_frames(path: Path, fate: dict[int, str], timing: Timing) -> None:
    """``frames.csv``: what became of each published frame, and what its step cost the simulation."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "outcome", "added_s"])
        for step, added in zip(timing.steps, timing.added_s, strict=True):
            writer.writerow([step, fate.get(step, ""), f"{added:.6f}"])


def _truth(output: Path, config: InsituConfig) -> dict[str, Any]:
    element = config.crystal.element
    structure = material(element).structure
    analyses = dxa.analyse_run(output, structure, element=element, keep_atoms=config.truth.keep_atoms)
    return compare(read_results(output), analyses, minimum_length_A=config.truth.minimum_length_A)


def _draw(output: Path, config: InsituConfig) -> None:
    from inference_insitu.picture import draw_run

    draw_run(output, config)


def _attempt(what: str, problems: list[str], task: Callable[[], Any]) -> Any:
    try:
        return task()
    except Exception as error:
        problems.append(f"{what} failed: {type(error).__name__}: {error}")
        return None


def _write_summary(output: Path, line: dict[str, Any]) -> None:
    (output / folder.SUMMARY).write_text(json.dumps(line, indent=1) + "\n")
