"""The notebooks run from top to bottom, headless."""

import os
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="install the optional group 'notebooks'")
nbclient = pytest.importorskip("nbclient", reason="install the optional group 'notebooks'")
pytest.importorskip("ipykernel", reason="install the optional group 'notebooks'")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
@pytest.mark.timeout(240)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cell raises; the two routes to the pattern agree, and pictures come out."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    notebook = jupytext.read(path)
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    assert float(text.split("normalised overlap of the two amplitudes:")[1].split()[0]) > 0.99
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
