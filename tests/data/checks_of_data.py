"""What the tests of ``data`` share."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.sample import Sample

REPOSITORY = Path(__file__).parents[2]
SHARED = REPOSITORY.parent / "shared"

SampleMaker = Callable[..., Sample]


def run_cdi(*arguments: object, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    """``cdi`` in its own process, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "cdi", *map(str, arguments)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def assert_one_line(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2 and a single line on stderr that holds ``words``."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("cdi: ")
    for word in words:
        assert word in lines[0]


def assert_same_sample(got: Sample, wanted: Sample) -> None:
    """Every field of two samples is equal, bit by bit."""
    assert (got.index, got.reflection) == (wanted.index, wanted.reflection)
    for name in ("defect", "kinds", "formula", "structure", "fault_step", "determined"):
        assert getattr(got.truth, name) == getattr(wanted.truth, name), name
    np.testing.assert_array_equal(got.truth.cell, wanted.truth.cell)
    np.testing.assert_array_equal(got.truth.orientation, wanted.truth.orientation)
    assert got.exposure.grid is not None
    assert wanted.exposure.grid is not None
    np.testing.assert_array_equal(got.exposure.grid.centre, wanted.exposure.grid.centre)
    np.testing.assert_array_equal(got.exposure.grid.step, wanted.exposure.grid.step)
    mask = wanted.exposure.mask
    assert (got.exposure.mask is None) == (mask is None)
    if mask is not None:
        np.testing.assert_array_equal(got.exposure.mask, mask)
    expected = wanted.exposure.counts if mask is None else np.where(mask, wanted.exposure.counts, 0)
    np.testing.assert_array_equal(got.exposure.counts, expected)
    for name in ("displacement", "support", "phase"):
        np.testing.assert_array_equal(getattr(got.truth, name), getattr(wanted.truth, name))
        assert getattr(got.truth, name).dtype == np.float32
    assert len(got.truth.lines) == len(wanted.truth.lines)
    for line, other in zip(got.truth.lines, wanted.truth.lines, strict=True):
        np.testing.assert_array_equal(line.points, other.points)
        np.testing.assert_array_equal(line.burgers, other.burgers)
        np.testing.assert_array_equal(line.burgers_lattice, other.burgers_lattice)
        assert (line.g_dot_b, line.residual, line.candidates) == (other.g_dot_b, other.residual, other.candidates)


def die(*_: object) -> None:
    """What the kernel does to a worker that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def start_without_torch(*_: object) -> None:
    """A worker's start that costs nothing."""
