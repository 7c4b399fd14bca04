import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(params=["compiled", "python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways into a ring, one after the other."""
    from inference_insitu.native.compiled import VARIABLE, lane_or_reason

    found, why = lane_or_reason()
    if request.param == "compiled" and found is None:
        pytest.skip(why)
    monkeypatch.setenv(VARIABLE, request.param)
    return str(request.param)
