"""The house as a whole: the command line, and every configuration that ships."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdi.command import ENTRY_POINT_GROUP, Command
from cdi.config import read_config, to_dict
from cdi.main import main

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))


def configuration_of(path: Path) -> type[Any]:
    """The dataclass that a shipped file is read into, told by its place and name."""
    from cdi.detector.model import DetectorModel
    from data.molecular_dynamics.relaxed_recipe import RelaxedRecipe
    from data.recipe import Recipe
    from data.scan_config import ScanConfig
    from inference_insitu.coupling_config import CouplingConfig
    from inference_insitu.lammps.config import InsituConfig
    from training.config import TrainConfig
    from training.tiers import TierSettings

    if path.parent.name == "recipes":
        return RelaxedRecipe if path.stem == "relaxed" else Recipe
    if path.parent.name == "tiers":
        return TierSettings
    if path.parent.name == "coupling":
        return CouplingConfig
    kinds = {"insitu": InsituConfig, "train": TrainConfig, "detector": DetectorModel, "scan": ScanConfig}
    return kinds[path.stem.split("-")[0]]


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)


def test_help_lists_every_command_and_imports_no_torch() -> None:
    """``cdi --help`` answers at once: neither torch nor MPI nor LAMMPS nor matplotlib is loaded for it."""
    heavy = ("torch", "lightning", "mpi4py", "lammps", "ovito", "matplotlib", "finufft")
    done = python(
        "import sys\nfrom cdi.main import main\ncode = main(['--help'])\n"
        f"print('LOADED', [m for m in {heavy!r} if m in sys.modules])\nsys.exit(code)"
    )
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stdout
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        command = entry.load()
        assert isinstance(command, Command)
        assert entry.name == command.name
        assert command.name in done.stdout
        assert " ".join(command.help.split()[:3]) in " ".join(done.stdout.split())


def test_the_commands_of_the_house_are_there() -> None:
    names = {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)}
    assert {"simulate", "generate", "train", "evaluate", "predict", "insitu"} <= names


@pytest.mark.parametrize("arguments", [[], ["dance"], ["train"], ["--no-such-option"]], ids=str)
def test_bad_usage_is_exit_code_2_and_no_traceback(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert printed.err.strip()


def raising(error: BaseException) -> Callable[[Any], None]:
    def run(arguments: Any) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("shape must be even,\n got 3"), 2, "cdi: shape must be even, got 3"),
        (FileNotFoundError("no such file: x"), 2, "cdi: no such file: x"),
        (RuntimeError("the simulation stopped"), 1, "cdi: the simulation stopped"),
        (ZeroDivisionError(), 1, "cdi: ZeroDivisionError:"),
        (KeyboardInterrupt(), 130, "cdi: interrupted"),
    ],
)
def test_every_failure_is_one_line_and_its_exit_code(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """2 for input that the user can mend, 1 for a failure while running."""

    class Entry:
        name = "fail"

        @staticmethod
        def load() -> Command:
            return Command("fail", "fail in a chosen way", lambda parser: None, raising(error))

    monkeypatch.setattr("cdi.main.entry_points", lambda group: [Entry])
    assert main(["fail"]) == code
    assert capsys.readouterr().err.strip() == line


def test_a_command_runs_without_the_others_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> Command:
            assert self.name == "wanted"
            return Command("wanted", "be run", lambda parser: None, ran.append)

    ran: list[Any] = []
    monkeypatch.setattr("cdi.main.entry_points", lambda group: [Entry("broken"), Entry("wanted")])
    assert main(["wanted"]) == 0
    assert len(ran) == 1


def test_every_shipped_configuration_is_found() -> None:
    assert EXAMPLES
    found = {configuration_of(path).__name__ for path in EXAMPLES}
    assert found == {
        "Recipe",
        "RelaxedRecipe",
        "InsituConfig",
        "CouplingConfig",
        "TrainConfig",
        "DetectorModel",
        "ScanConfig",
        "TierSettings",
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_shipped_configuration_loads_strictly(path: Path, tmp_path: Path) -> None:
    """As it stands, not with one key more, and its resolved form reads back the same."""
    cls = configuration_of(path)
    config = read_config(cls, path)
    (tmp_path / "resolved.yaml").write_text(yaml.safe_dump(to_dict(config)))
    assert read_config(cls, tmp_path / "resolved.yaml") == config
    with pytest.raises(ValueError, match="unknown key 'no_such_key'"):
        read_config(cls, path, ["no_such_key=1"])


@pytest.mark.parametrize("package", ["cdi", "data", "models", "training", "inference_insitu"])
def test_a_package_imports_without_its_optional_parts(package: str) -> None:
    """No torch, MPI, LAMMPS or OVITO for the name alone."""
    done = python(
        f"import sys, {package}\nprint([m for m in ('torch', 'mpi4py', 'lammps', 'ovito') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_readme_s_example_runs() -> None:
    """As it stands in the README, in a process of its own."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert "True" in done.stdout
