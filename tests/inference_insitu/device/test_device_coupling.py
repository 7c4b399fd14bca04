"""``coupling.publish`` of arrays on a GPU, by a real ring to a real service: whole, in order, each with its row."""

import gc
import random
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coupled_device import Coupled, value_of

from inference_insitu.books.ledger import Ledger
from inference_insitu.device.paths import HANDLE
from inference_insitu.device.runtime import DeviceError
from inference_insitu.inference.estate import settle_estate
from inference_insitu.reduction.operator_config import OperatorConfig
from inference_insitu.ring.layout import Word
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.watching.events import EventLog, read_events
from inference_insitu.watching.ledger_files import read_ledger

PATHS = ["plain", "pinned", "ipc"]
LATER = PATHS[1:]
OPERATORS = (OperatorConfig(kind="bin", factor=2),)


@pytest.fixture
def coupled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(device: str = "auto", folder: Path = tmp_path, **options: Any) -> Coupled:
        return Coupled(folder, monkeypatch, device, **{"wants_device": device == "ipc"} | options)

    return make


@pytest.mark.parametrize("kind", ["latest", "drop_newest", "degrade", "spill", "sample"])
@pytest.mark.parametrize("path", PATHS)
def test_every_frame_arrives_whole_and_in_order(path: str, kind: Any, coupled: Any, tmp_path: Path) -> None:
    """Arrays of the device and of the host, on two streams, the device and the worker at work in between."""
    for seed in range(8):
        folder = tmp_path / str(seed)
        folder.mkdir()
        scene = coupled(path, folder, policy=PolicyConfig(kind=kind, every=2, spill_bytes=1 << 14))
        chance = scene.runtime.random = random.Random(seed)
        for _ in range(40):
            (scene.publish if chance.random() < 0.7 else scene.publish_host)(chance.choice("ab"))
            for _ in range(chance.randrange(5)):
                scene.runtime.step()
            if chance.random() < 0.5:
                scene.coupling.end_step(scene.step["a"] + scene.step["b"])
            if chance.random() < 0.3:
                scene.serve()
        scene.close()
        scene.assert_whole()
        assert len(scene.seen.frames) > 5
        assert scene.runtime.locked == {}
        assert list(scene.runtime.memory) == [scene.array.memory.ctypes.data], "device memory was kept"
        assert (scene.seen.on_device > 0) == (path == "ipc")


@pytest.mark.parametrize("path", LATER)
def test_no_frame_overtakes_one_whose_copy_is_not_finished(path: str, coupled: Any) -> None:
    scene = coupled(path)
    assert scene.publish()
    assert scene.publish_host()
    assert scene.publish_host("b")
    assert scene.waiting() == [("b", 0)]
    scene.work()
    scene.coupling.end_step(0)
    assert scene.waiting() == [("a", 0), ("a", 1), ("b", 0)]
    assert scene.publish_host()
    assert scene.waiting()[-1] == ("a", 2), "behind nothing that is being filled it is ready at once"
    scene.close()
    scene.assert_whole()


@pytest.mark.parametrize("path", LATER)
def test_latest_does_not_replace_a_slot_that_is_being_filled(path: str, coupled: Any) -> None:
    scene = coupled(path)
    assert [bool(scene.publish()) for _ in range(4)] == [True] * 3 + [False]
    scene.work()
    scene.coupling.end_step(3)
    assert scene.publish()
    scene.close()
    assert scene.fates() == {0: "superseded", 1: "inferred", 2: "inferred", 3: "full", 4: "inferred"}
    scene.assert_whole()


def test_slots_that_are_being_filled_count_as_in_flight(coupled: Any) -> None:
    scene = coupled("pinned", steps=2, policy=PolicyConfig(kind="drop_newest"))
    assert [bool(scene.publish()) for _ in range(3)] == [True, True, False]
    scene.close()


def test_a_policy_that_waits_lets_the_device_hand_over(coupled: Any) -> None:
    """All slots are being filled: the worker can free none before the wait itself has looked at the device."""
    scene = coupled("pinned", steps=1, policy=PolicyConfig(kind="block", timeout_s=20.0))
    scene.publish()
    scene.runtime.eager = random.Random(0)
    scene.producer.look_after(scene.serve)
    assert scene.publish()
    scene.close()
    assert scene.fates() == {0: "inferred", 1: "inferred"}
    scene.assert_whole()


@pytest.mark.parametrize("path", LATER)
@pytest.mark.parametrize("what", ["copy", "record"])
def test_a_write_that_fails_costs_its_frame_and_the_next_goes_by_a_plain_copy(
    path: str, what: str, coupled: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene = coupled(path, steps=4)
    assert scene.publish()
    scene.runtime.failing = {what}
    refused = scene.publish()
    assert (refused.status, refused.reason) == ("failed", f"{what} failed: CUDA_ERROR_OF_A_TEST")
    scene.runtime.failing = set()
    free = len(scene.producer._streams["a"].free_memory)
    assert scene.publish()
    scene.coupling.end_step(2)
    assert len(scene.producer._streams["a"].free_memory) == free - 1
    scene.close()
    assert scene.fates() == {0: "inferred", 1: "failed", 2: "inferred"}
    scene.assert_whole()
    told = [event.fields["line"] for event in read_events(tmp_path) if event.event == "device_failed"]
    assert told == [f"arrays on the device go by a plain copy from now on: {what} failed: CUDA_ERROR_OF_A_TEST"]
    assert told[0] in capfd.readouterr().err


@pytest.mark.parametrize("path", LATER)
def test_a_device_that_fails_costs_what_it_was_copying(path: str, coupled: Any) -> None:
    scene = coupled(path, steps=5)
    scene.publish()
    scene.work()
    scene.coupling.end_step(0)
    for _ in range(2):
        scene.publish()
    scene.publish_host()  # waits for the two
    scene.runtime.failing = {"done"}
    scene.coupling.end_step(3)
    assert scene.waiting() == [("a", 0), ("a", 3)]
    assert scene.publish()
    scene.close()
    assert scene.fates() == {0: "inferred", 1: "failed", 2: "failed", 3: "inferred", 4: "inferred"}
    scene.assert_whole()


def test_slots_that_a_failed_device_may_still_write_to_are_used_no_more(coupled: Any) -> None:
    scene = coupled("pinned", steps=3, policy=PolicyConfig(kind="drop_newest"))
    for _ in range(2):
        scene.publish()
    scene.runtime.failing = {"done"}
    scene.coupling.end_step(1)
    assert [bool(scene.publish_host()) for _ in range(2)] == [True, False]
    scene.work()  # it does
    scene.serve()
    assert scene.publish_host(), "the slot that is left is"
    scene.close()
    assert scene.fates() == {0: "failed", 1: "failed", 2: "inferred", 3: "full", 4: "inferred"}
    scene.assert_whole()


def test_a_plain_copy_that_fails_costs_its_frame_alone(coupled: Any) -> None:
    scene = coupled("plain", steps=2)
    scene.runtime.failing = {"copy"}
    for _ in range(5):
        assert scene.publish().reason == "copy failed: CUDA_ERROR_OF_A_TEST"
    scene.runtime.failing = set()
    assert scene.publish()
    scene.close()
    assert scene.fates() == dict.fromkeys(range(5), "failed") | {5: "inferred"}
    scene.assert_whole()


def test_an_array_of_another_device_is_refused_with_a_reason(coupled: Any) -> None:
    scene = coupled("pinned")
    assert scene.publish()
    scene.runtime.memory, held = {}, scene.runtime.memory
    assert scene.publish().reason == "array must be on device 0 as the first one was, got 1"
    scene.runtime.memory = held
    assert scene.publish()
    scene.close()
    assert scene.fates() == {0: "inferred", 1: "failed", 2: "inferred"}
    scene.assert_whole()


def test_a_path_that_is_named_and_not_possible_is_refused(coupled: Any) -> None:
    scene = coupled("ipc", wants_device=False)
    why = "the inference does not run on a GPU"
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"path must be possible here \(pinned, plain\), got 'ipc': {why}"):
            scene.publish()
    assert scene.opened == 1, "it was tried once"
    scene.close()


def test_the_path_is_chosen_at_the_first_array_and_said_once(
    coupled: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene = coupled()
    scene.publish_host()
    assert scene.opened == 0
    for _ in range(3):
        scene.publish()
    scene.close()
    why = "not ipc: the inference does not run on a GPU"
    line = f"arrays on the device: pinned ({why})"
    assert capfd.readouterr().err.count(line) == 1
    assert [event.fields["line"] for event in read_events(tmp_path) if event.event == "device"] == [line]


def test_operators_work_on_a_copy_of_the_host(coupled: Any) -> None:
    scene = coupled("pinned", operators=OPERATORS)
    for _ in range(2):
        assert scene.publish()
    assert scene.coupling.reduced("a").shape == (2, 3)
    scene.close()
    assert [array.shape for _, _, array, _ in scene.seen.frames] == [(2, 3)] * 2
    scene.assert_whole()


def test_a_copy_for_an_operator_that_fails_costs_its_frame(coupled: Any) -> None:
    scene = coupled("pinned", operators=OPERATORS)
    scene.runtime.failing = {"copy"}
    assert scene.publish().reason == "DeviceError: copy failed: CUDA_ERROR_OF_A_TEST"
    scene.close()
    assert scene.fates() == {0: "unreduced"}


@pytest.mark.parametrize(("kind", "ending"), [("degrade", "inferred"), ("spill", "inferred")])
@pytest.mark.parametrize("path", PATHS)
def test_what_the_policy_makes_coarser_or_spills_is_made_of_a_copy_of_the_host(
    path: str, kind: Any, ending: str, coupled: Any
) -> None:
    scene = coupled(path, steps=1, policy=PolicyConfig(kind=kind, spill_bytes=1 << 12))
    assert [bool(scene.publish("a", {"note": "kept"})) for _ in range(3)] == [True, True, False]
    scene.close()
    assert scene.fates() == {0: ending, 1: ending, 2: "full"}
    assert [told for _, _, _, told in scene.seen.frames] == [{"note": "kept"}] * 2
    scene.assert_whole()


def test_a_copy_for_a_coarser_frame_that_fails_costs_its_frame(coupled: Any) -> None:
    scene = coupled("pinned", steps=1, policy=PolicyConfig(kind="degrade"))
    scene.publish()
    scene.runtime.failing = {"copy"}
    refused = scene.publish()
    assert (refused.status, refused.reason) == ("failed", "copy failed: CUDA_ERROR_OF_A_TEST")
    scene.runtime.failing = set()
    assert scene.publish(), "the coarser form's slot is free again"
    scene.close()
    assert scene.fates() == {0: "inferred", 1: "failed", 2: "inferred"}


def test_attributes_leave_room_for_the_handle(coupled: Any) -> None:
    scene = coupled("ipc")
    most = {"note": "x" * 1880}
    assert scene.publish("a", most)
    with pytest.raises(ValueError, match="attributes must take at most 1899 bytes as JSON, got 2012"):
        scene.publish("a", {"note": "x" * 2000})
    scene.close()
    assert [(step, dict(told)) for _, step, _, told in scene.seen.frames] == [(0, most)]


def test_an_analysis_that_knows_no_device_gets_an_array(coupled: Any) -> None:
    """It shares the worker with one that does."""
    scene = coupled("ipc")
    scene.seen.wants_device = False
    assert scene.publish()
    assert scene.publish(value=np.nan)
    scene.close()
    assert scene.seen.on_device == 0
    assert scene.fates() == {0: "inferred", 1: "nonfinite"}
    assert scene.steps() == [0]
    scene.assert_whole()


def test_a_handle_of_nothing_costs_its_frame(coupled: Any) -> None:
    scene = coupled("plain")
    assert scene.publish("a", {HANDLE: "no digits"})
    assert scene.publish("a", {HANDLE: 7})
    assert scene.publish()
    scene.close()
    assert scene.fates() == {0: "failed", 1: "failed", 2: "inferred"}


def test_a_device_that_fails_under_an_analysis_leaves_no_answer(coupled: Any) -> None:
    scene = coupled("ipc")
    assert scene.publish()
    scene.work()
    scene.coupling.end_step(0)

    def finish(stream: int | None) -> None:
        raise DeviceError("cuCtxSynchronize failed: CUDA_ERROR_OF_A_TEST")

    answer, scene.seen.answer = scene.seen.answer, lambda frames: [{"mean": 0.0} for _ in frames]
    synchronise, scene.runtime.synchronise = scene.runtime.synchronise, finish
    scene.serve()
    scene.seen.answer, scene.runtime.synchronise = answer, synchronise
    scene.close()
    assert scene.fates() == {0: "failed"}


def test_what_the_device_does_not_finish_before_the_end_has_failed(
    coupled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_insitu.coupling.DEVICE_TIMEOUT_S", 0.05)
    scene = coupled("pinned")
    scene.publish()
    scene.publish_host()
    scene.coupling.close()  # the device never comes to it
    assert scene.fates() == {0: "failed", 1: "inferred"}
    assert scene.runtime.locked, "the device may be writing to the ring still"
    scene.work()
    scene.assert_whole()


def test_a_simulation_that_fails_leaves_its_books_whole(coupled: Any) -> None:
    scene = coupled("pinned")
    scene.publish()
    scene.coupling.abandon(RuntimeError("the simulation's own"))
    assert scene.fates() == {0: "failed"}
    scene.work()


@pytest.mark.parametrize("path", PATHS)
def test_the_ring_goes_with_the_coupling(path: str, coupled: Any) -> None:
    scene = coupled(path)
    scene.publish()
    scene.close()
    gc.disable()
    try:
        gone = weakref.ref(scene.producer)
        scene.coupling = scene.producer = scene.service = None
        assert gone() is None, "something still refers to the producer"
    finally:
        gc.enable()


@pytest.mark.parametrize("path", LATER)
def test_the_estate_of_a_simulation_that_died_while_copies_were_under_way(
    path: str, coupled: Any, tmp_path: Path
) -> None:
    scene = coupled(path, steps=6)
    scene.ledger = scene.producer.ledger = Ledger(tmp_path, 0, origin_ns=0, journal=scene.region.journal)
    scene.publish()
    scene.work()
    scene.coupling.end_step(0)
    for _ in range(2):
        scene.publish()
    scene.publish_host()
    scene.producer.fail(scene.producer._streams["a"].filling[0], "a reason", again=False)
    scene.region.words[Word.OWNER_PID] = 0  # it is dead
    settle_estate(scene.consumer, tmp_path, EventLog(None, ""))
    rows = read_ledger(tmp_path)
    assert not rows.problems
    fates = [rows.fate.names[code] for code in rows.fate.codes]
    assert dict(zip(rows.step.tolist(), fates, strict=True)) == {
        0: "undelivered", 1: "failed", 2: "undelivered", 3: "undelivered",
    }  # fmt: skip
    assert len(rows.step) == scene.region.words[Word.PUBLISHED]


def test_a_value_is_of_its_frame() -> None:
    assert value_of("a", 1) != value_of("b", 1)
