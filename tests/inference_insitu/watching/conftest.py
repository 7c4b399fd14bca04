from pathlib import Path

import pytest
from synthetic_run import SyntheticRun


@pytest.fixture
def run(tmp_path: Path) -> SyntheticRun:
    """A run that has ended: 2 400 frames of 4 ranks, one death of its worker."""
    return SyntheticRun(tmp_path / "run").write()


@pytest.fixture
def hostile() -> str:
    """A name that is HTML, mathematics, terminal control, CSV and more at once."""
    return '<script>alert("x")</script>$\\frac{a$ \x1b[31m\x07 {{ 7*7 }} "quoted", and é\u202e'
