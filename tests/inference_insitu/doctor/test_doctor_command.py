"""The command: a table or JSON, its exit code, and no failure that ends it."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from jsonargparse import Namespace

from inference_insitu.doctor import examination
from inference_insitu.doctor.cli import doctor
from inference_insitu.doctor.verdict import Level, Verdict


def run(*, as_json: bool = False, timeout: float = 60.0) -> int:
    try:
        doctor.run(Namespace(json=as_json, timeout=timeout))
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def faked(monkeypatch: pytest.MonkeyPatch, *verdicts: Verdict) -> None:
    def examine(timeout_s: float) -> Iterator[Verdict]:
        yield from verdicts

    monkeypatch.setattr(examination, "examine", examine)


def test_only_an_unusable_mpi_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faked(monkeypatch, Verdict("GPU", Level.NO, "none"), Verdict("cores", Level.WARNING, "1 of 1", "expect less"))
    assert run() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "a coupled run can start here"
    faked(monkeypatch, Verdict("MPI library", Level.NO, "none", "install it", blocking=True))
    assert run() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "a coupled run cannot start here: mend MPI library"


def test_json_is_one_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    faked(monkeypatch, Verdict("MPI library", Level.NO, "none", "install it", {"error": "x"}, blocking=True))
    assert run(as_json=True) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["usable"] is False
    assert said["counts"] == {"ok": 0, "warning": 0, "no": 1}
    assert said["checks"][0]["facts"] == {"error": "x"}


def test_a_check_that_raises_is_a_line_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> Verdict:
        raise RuntimeError("no\nidea")

    for name in ("library", "shared_memory", "gpu"):
        monkeypatch.setattr(examination, name, fail)
    found = {verdict.name: verdict for verdict in examination.examine(60.0)}
    for name in ("MPI library", "shared memory", "GPU"):
        assert found[name].finding == "the check itself failed: RuntimeError: no idea"
    assert {"python", "cores", "C compiler", "libpython"} <= set(found)


def test_without_a_library_nothing_that_needs_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Verdict("MPI library", Level.NO, "none", blocking=True)
    monkeypatch.setattr(examination, "library", lambda timeout_s: broken)
    monkeypatch.setattr(examination, "gpu", lambda timeout_s: Verdict("GPU", Level.NO, "none"))
    names = [verdict.name for verdict in examination.examine(60.0)]
    assert "MPI library" in names
    assert not {"MPI launcher", "CUDA-aware MPI", "death of a rank", "two jobs by a port"} & set(names)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_must_be_positive(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds, got"):
        run(timeout=timeout)


def test_under_a_launcher_one_rank_reports(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    faked(monkeypatch, Verdict("GPU", Level.NO, "none"))
    monkeypatch.setenv("PMI_RANK", "1")
    assert run() == 0
    assert capsys.readouterr().out == ""


def test_the_doctor_s_modules_load_neither_torch_nor_mpi() -> None:
    """What needs them runs in children."""
    code = (
        "import sys, inference_insitu.doctor.cli, inference_insitu.doctor.examination\n"
        "print([name for name in ('torch', 'mpi4py', 'lightning') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.mpi
@pytest.mark.timeout(300)
def test_the_real_doctor_asks_everything_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mpi4py", exc_type=ImportError)
    code = run(as_json=True)
    said = json.loads(capsys.readouterr().out)
    names = [check["name"] for check in said["checks"]]
    assert code == (0 if said["usable"] else 1)
    assert {"python", "cores", "launcher variables", "shared memory", "MPI library", "MPI launcher", "GPU"} <= set(
        names
    )
    assert {"C compiler", "Fortran compiler", "libpython", "group mpi"} <= set(names)
    assert len(names) == len(set(names))
    assert not [check for check in said["checks"] if "the check itself failed" in check["finding"]]
    for check in said["checks"]:
        assert check["level"] in ("ok", "warning", "no")
        assert check["finding"]
