import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1]):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(autouse=True)
def unflushed(monkeypatch):
    """What dies here is no machine: the disk need not be waited for."""
    monkeypatch.setattr("cdi.whole_file._sync", lambda path: None)
