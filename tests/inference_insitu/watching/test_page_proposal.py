"""A command from the page comes to the simulation as one of a rule does, and not where it must not."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdi.config import write_config
from cdi.errors import RunError
from inference_insitu.coupling_config import AnalysisConfig, CouplingConfig, StreamConfig
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.ring.layout import BOX_RECORDS, Kind, Layout, Side, SlotGroup, Word
from inference_insitu.ring.region import PREFIX, SHARED_MEMORY, Region
from inference_insitu.steering.commands import CommandSpec
from inference_insitu.steering.config import SteeringConfig
from inference_insitu.steering.encoding import decode
from inference_insitu.watching.page.proposal import desk, propose

DECLARED = (CommandSpec("load", -2.0, 3.0, "kN"), CommandSpec("turns", 1, 5, integer=True))


def write_run(folder: Path, *rings: str, steering: SteeringConfig | None = None) -> None:
    config = CouplingConfig(
        streams={"s": StreamConfig(analysis="m")},
        analyses={"m": AnalysisConfig(plugin="moments")},
        steering=steering or SteeringConfig(),
    )
    write_config(config, folder / "coupling.yaml")
    WorkerSpec(0, rings, str(folder / "coupling.yaml"), str(folder), DECLARED).write(folder / "worker-0.json")


@pytest.fixture
def ring() -> Iterator[Region]:
    """Where runs have theirs; its writer is this process, which goes on."""
    path = SHARED_MEMORY / f"{PREFIX}viewtest{os.getpid()}-0"
    region = Region.create(Layout((SlotGroup("s", Kind.MEMORY, 1, 100),)), rank=0, path=path)
    region.words[Word.PRODUCER_STATE] = Side.READY
    yield region
    region.unlink()


def test_a_command_lies_in_the_box_in_the_form_of_those_of_rules(tmp_path: Path, ring: Region) -> None:
    write_run(tmp_path, str(ring.path))
    assert desk(tmp_path).closed == ""
    told = propose(tmp_path, "load", 2.5, step=70)
    (record,) = ring.collect()
    command = decode(record)
    assert command == told
    assert (command.name, command.value, command.step_proposed, command.once) == ("load", 2.5, 70, True)
    assert command.origin.startswith("live view ")
    assert propose(tmp_path, "stop", None, step=71).origin != command.origin


def test_what_may_be_asked_is_told_with_its_bounds(tmp_path: Path, ring: Region) -> None:
    narrow = SteeringConfig(bounds=(CommandSpec("load", 0.0, 1.0),))
    write_run(tmp_path, str(ring.path), steering=narrow)
    told = {one["name"]: one["bounds"] for one in desk(tmp_path).to_json()["commands"]}
    assert told == {
        "snapshot": "no value",
        "interval": "[1, 1e+09] steps whole",
        "stop": "no value",
        "load": "[0, 1] kN",
        "turns": "[1, 5] whole",
    }


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("load", 3.5, "must lie in"),
        ("load", None, "must come with a value"),
        ("load", float("nan"), "must be finite"),
        ("load", "2", "must be a number"),
        ("load", True, "must be a number"),
        ("turns", 1.5, "whole number"),
        ("stop", 1.0, "without a value"),
        ("rate", 1.0, "minimum and a maximum"),
        ("laod", 1.0, "load"),
        ("x" * 1000, 1.0, "must match"),
        ("<b>", 1.0, "must match"),
    ],
)
def test_what_is_no_command_of_the_run_never_reaches_it(
    tmp_path: Path, ring: Region, name: str, value: float, says: str
) -> None:
    write_run(tmp_path, str(ring.path))
    with pytest.raises(ValueError, match=says):
        propose(tmp_path, name, value, step=0)
    assert ring.collect() == []


def test_a_full_box_is_said(tmp_path: Path, ring: Region) -> None:
    write_run(tmp_path, str(ring.path))
    for _ in range(BOX_RECORDS):
        propose(tmp_path, "stop", None, step=0)
    with pytest.raises(RunError, match="has not taken the commands before"):
        propose(tmp_path, "stop", None, step=0)


def test_a_ring_whose_simulation_is_ending_or_dead_takes_nothing(tmp_path: Path, ring: Region) -> None:
    write_run(tmp_path, str(ring.path))
    for word, value in ((Word.PRODUCER_STATE, Side.ENDING), (Word.OWNER_STARTED, 1)):
        before = ring.words[word]
        ring.words[word] = value
        with pytest.raises(RunError, match="is ending, or its simulation has died"):
            propose(tmp_path, "stop", None, step=0)
        ring.words[word] = before
    ring.unlink()
    with pytest.raises(RunError, match="no ring of the run is on this machine"):
        propose(tmp_path, "stop", None, step=0)


def test_a_run_that_replays_takes_no_command(tmp_path: Path, ring: Region) -> None:
    write_run(tmp_path, str(ring.path), steering=SteeringConfig(replay="steering.jsonl"))
    with pytest.raises(RunError, match="replays a log"):
        propose(tmp_path, "stop", None, step=0)


def test_nothing_but_a_ring_is_opened(tmp_path: Path, ring: Region) -> None:
    """The file that names rings lies in a folder that may be anybody's."""
    other = tmp_path / "ring"
    region = Region.create(Layout((SlotGroup("s", Kind.MEMORY, 1, 100),)), rank=0, path=other)
    region.words[Word.PRODUCER_STATE] = Side.READY
    write_run(tmp_path, str(other), "/etc/passwd", f"{SHARED_MEMORY}/{PREFIX}x/../../../{other}")
    with pytest.raises(RunError, match="no ring of the run is on this machine"):
        propose(tmp_path, "stop", None, step=0)
    assert region.collect() == []


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"worker": 0, "regions": [], "commands": 3})])
def test_files_that_do_not_read_close_the_desk(tmp_path: Path, text: str) -> None:
    assert "said nothing of its rings" in desk(tmp_path).closed
    write_run(tmp_path)
    (tmp_path / "worker-0.json").write_text(text)
    assert "does not read" in desk(tmp_path).closed
    write_run(tmp_path)
    (tmp_path / "coupling.yaml").write_text("nothing: [")
    assert "does not read" in desk(tmp_path).closed
