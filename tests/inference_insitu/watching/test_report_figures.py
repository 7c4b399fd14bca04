"""Figures show what there is: no outcome is hidden by another, and none by the thinning."""

from pathlib import Path

import numpy as np
import pytest

from inference_insitu.watching import figures
from inference_insitu.watching.answers_files import Series
from inference_insitu.watching.ledger_files import read_ledger


def test_thinning_keeps_every_rank() -> None:
    """Ranks answer in turn: every second answer would be that of one rank."""
    count = 4 * figures.MOST_POINTS
    series = Series("s", "a", "mean", np.arange(count) // 2.0, np.arange(count) % 2.0)
    (line,) = figures.answers_over_steps([series]).axes[0].get_lines()
    values = np.asarray(line.get_ydata())
    assert len(values) == figures.MOST_POINTS
    assert 0.4 < values.mean() < 0.6


@pytest.mark.parametrize(("steps", "ranks"), [(7, 3), (5000, 3), (7, 700)])
def test_the_worst_of_a_cell_is_what_it_shows(tmp_path: Path, steps: int, ranks: int) -> None:
    """One lost frame among thousands is seen, however small the picture."""
    lost = (steps // 2, ranks // 2)
    lines = ["stream,rank,step,outcome"]
    lines += [
        f"s,{rank},{step},{'lost' if (step, rank) == lost else 'full' if step % 2 else 'inferred'}"
        for rank in range(ranks)
        for step in range(steps)
    ]
    (tmp_path / "ledger-0.csv").write_text("\n".join(lines) + "\n")
    (image,) = figures.timeline(read_ledger(tmp_path)).axes[0].get_images()
    grid = np.ma.filled(image.get_array(), -1)
    assert grid.shape == (min(ranks, figures.MOST_RANK_ROWS), min(steps, figures.MOST_COLUMNS))
    assert (grid == 2).sum() == 1
    assert grid.min() >= 0
