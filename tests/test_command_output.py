"""What commands print: with --json one object that any parser of JSON takes, and nothing else on stdout."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from jsonargparse import Namespace

from cdi.command_output import json_text, tell
from cdi.main import command_helps, main


def strictly(text: str) -> Any:
    """``text`` as RFC 8259 has it."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse)


def told(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    assert main([*map(str, words), "--json"]) == 0
    return strictly(capsys.readouterr().out)


def test_numbers_that_are_not_finite_are_null() -> None:
    said = {"a": [math.nan, (1.5, math.inf)], "b": {"path": Path("x"), 3: None}}
    assert json.loads(json_text(said)) == {"a": [None, [1.5, None]], "b": {"path": "x", "3": None}}


@pytest.mark.parametrize(("json_asked", "printed"), [(True, '{"a": 1}\n'), (False, "one\ntwo\n")])
def test_either_an_object_or_lines(json_asked: bool, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    tell(Namespace(json=json_asked), {"a": 1}, ["one", "two"])
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("name", command_helps())
def test_every_command_has_the_option(name: str) -> None:
    assert "--json" in command_helps()[name]


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "edge.h5"
    crystal = ["--element", "Au", "--defect", "edge", "--reflection", "1", "1", "1", "--diameter-A", "90"]
    frame = ["--shape", "16", "--oversampling", "3", "--peak-counts", "1e4", "--no-picture", "--output", str(path)]
    assert main(["simulate", *crystal, *frame]) == 0
    return path


@pytest.mark.parametrize("words", ["--completion bash", "convert {} {}.npz --json"])
def test_who_stops_reading_hears_no_complaint(words: str, pattern: Path) -> None:
    """As ``| head``: a short text fails as it is flushed, a long one as it is written."""
    read, write = os.pipe()
    os.close(read)
    asked = [sys.executable, "-m", "cdi", *words.replace("{}", str(pattern)).split()]
    with os.fdopen(write, "wb") as unread:
        done = subprocess.run(asked, stdout=unread, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


def test_simulate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crystal = ["--element", "Au", "--defect", "edge", "--reflection", 1, 1, 1, "--diameter-A", 90]
    words = [*crystal, "--shape", 16, "--oversampling", 3, "--output", tmp_path / "a.h5"]
    found = told(capsys, "simulate", *words)
    with h5py.File(tmp_path / "a.h5") as file:
        assert found["brightest"] == pytest.approx(file["intensity"][()].max(), rel=1e-6)
    assert (found["shape"], found["reflection"], found["unit"]) == ([16, 16, 16], [1, 1, 1], "electrons^2")
    assert (found["picture"], found["lines"]) == (str(tmp_path / "a.png"), 1)


def test_convert_and_view(pattern: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "convert", pattern, tmp_path / "a.cxi", "--prepare", "shape=[8,8,8]", "centre=brightest")
    assert (found["kind"], found["shape"], found["q_grid"]) == ("pattern", [8, 8, 8], True)
    assert any("8 × 8 × 8" in step for step in found["preparation"])
    found = told(capsys, "view", tmp_path / "a.cxi", "--output", tmp_path / "a.png")
    assert (found["written"], found["patterns"]) == ([str(tmp_path / "a.png")], ["a.cxi"])


def test_a_warning_stands_in_the_object_and_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", frames=np.ones((10, 11, 12)), theta_deg=0.01 * np.arange(12))
    assert main(["convert", str(tmp_path / "a.npz"), str(tmp_path / "a.cxi"), "--json"]) == 0
    printed = capsys.readouterr()
    (warning,) = strictly(printed.out)["warnings"]
    assert printed.err == f"cdi: warning: {warning}\n"


def test_generate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.yaml").write_text("{name: tiny, samples: 1, shape: [16, 16, 16]}")
    found = told(capsys, "generate", tmp_path / "r.yaml", "--processes", 1, "--output", tmp_path / "set")
    assert (found["output"], found["samples"]) == (str(tmp_path / "set" / "dataset.h5"), 1)


def test_a_failure_leaves_stdout_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path / "none.npy"), str(tmp_path / "a.cxi"), "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_a_run_that_is_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that has not begun; a view that goes on is no object."""
    assert told(capsys, "insitu", "watch", tmp_path, "--once")["condition"]["kind"] == "waiting"
    assert main(["insitu", "watch", str(tmp_path), "--json"]) == 2
    assert "--json must come with --once" in capsys.readouterr().err
