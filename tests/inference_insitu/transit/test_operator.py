"""The operator: answers as in situ, each once, states that move whole, marks that hold from their place on."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transit_twins import Summed, coupling, frame, stored

from cdi.errors import RunError
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import Answer, Control, Quarantined, Reply
from inference_insitu.transit.log.stream_log import Stored, frames_topic
from inference_insitu.transit.operators import operator as operator_module
from inference_insitu.transit.operators.analyses import Analyses
from inference_insitu.transit.operators.operator import Operator
from inference_insitu.transit.operators.operator_state import OperatorState, StateRefusedError
from inference_insitu.transit.operators.versions import Version, Versions

TOPIC = frames_topic("run", "pattern", 0, 1)


@pytest.fixture
def made(tmp_path):
    """Makes operators, each with analyses of its own, as in another process."""

    def make(snapshot=b"", attempts=None, **options):
        analyses = Analyses(coupling(**options), tmp_path)
        return Operator(TOPIC, analyses, PayloadStore(tmp_path / "payloads"), snapshot, attempts)

    return make


def mark(action, **more):
    return Control("run", "pattern", 0, action, "m1", **more)


def sums(given):
    return [(one.step, one.rank, one.values["sum"]) for one in given if isinstance(one, Answer)]


def test_frames_are_answered_in_order_and_in_batches_of_the_configured_size(made):
    given = made(size=4).take(stored(*[frame(step) for step in range(6)]))
    assert [one.batch for one in given] == [4, 4, 4, 4, 2, 2]
    assert sums(given) == [(step, 0, 15.0 * (step + 1) + 6 * sum(range(step + 1))) for step in range(6)]
    assert {one.model for one in given} == {"summed 1"}


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 11), max_size=4, unique=True), again=st.integers(0, 3))
def test_whoever_goes_on_from_a_snapshot_gives_the_answers_of_an_undisturbed_run(cuts, again, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")

    def operator(snapshot=b""):
        return Operator(TOPIC, Analyses(coupling(), folder), PayloadStore(folder / "payloads"), snapshot)

    records = stored(*[frame(step, rank) for step in range(4) for rank in range(3)])
    undisturbed = {(one.step, one.rank): one.values["sum"] for one in operator().take(records)}
    current, snapshot, found = operator(), b"", {}
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 12], strict=True):
        found |= {(one.step, one.rank): one.values["sum"] for one in current.take(records[start:end])}
        if again:  # killed: what was answered behind the snapshot is answered again
            current = operator(snapshot)
            found |= {
                (one.step, one.rank): one.values["sum"] for one in current.take(records[current.read_offset : end])
            }
        if len(found) % 2:
            snapshot = current.snapshot()
    assert found == undisturbed


def test_a_frame_that_is_there_twice_is_answered_once(made):
    given = made().take(stored(frame(0), frame(1), frame(1), frame(0), frame(2)))
    assert [one.step for one in given] == [0, 1, 2]


@pytest.mark.parametrize(
    "bad",
    [
        Stored(2, b"", b""),
        Stored(2, b"\x80\x04K\x01.", b""),
        Stored(2, b'{"version":2,"kind":"frame"}', b""),
        Stored(2, b'{"version":1,"kind":"frame","run":"run"}', b""),
        Stored(2, b'{"version":1,"kind":"answer"}', b"more"),
        Stored(2, b"[" * 100_000, b""),
    ],
)
def test_a_poisoned_record_is_set_aside_and_the_next_one_answered(made, bad):
    given = made().take([*stored(frame(0)), bad, *stored(frame(1), first=3)])
    assert [type(one) for one in given] == [Quarantined, Answer, Answer]
    assert (given[0].offset, given[0].topic) == (2, TOPIC.name)
    assert [one.step for one in given[1:]] == [0, 1]


def test_an_outcome_is_told_of_every_frame_that_has_no_answer(made, tmp_path):
    operator = made(fail_at=float(np.arange(6).sum() + 12))
    broken = np.full((2, 3), np.nan)
    store = PayloadStore(tmp_path / "payloads", threshold_bytes=0)
    gone = store.laid_out(frame(3))
    store.remove(gone.data)
    given = operator.take(stored(frame(0), frame(1, array=broken), frame(2), gone, frame(4)))
    assert [one.outcome for one in given] == ["inferred", "nonfinite", "failed", "failed", "inferred"]
    assert "does not like" in given[2].detail
    assert "must be there" in given[3].detail


def test_an_answer_that_no_record_holds_is_a_failure(made, monkeypatch):
    monkeypatch.setattr(Summed, "answer", lambda self, frames: [{"lines": "x" * 1_000_000} for _ in frames])
    (given,) = made().take(stored(frame(0)))
    assert (given.outcome, given.values) == ("failed", {})
    assert "at most 900000 bytes" in given.detail


def test_a_frame_with_which_engines_died_goes_alone_and_is_given_up_at_last(made):
    given = made(attempts={2: 1, 3: 3}).take(stored(*[frame(step) for step in range(5)]))
    assert [(one.outcome, one.batch) for one in given] == [
        ("inferred", 1),
        ("inferred", 1),
        ("lost", 0),
        ("inferred", 2),
        ("inferred", 2),
    ]


def test_frames_behind_prepare_wait_for_the_state_and_go_on_from_it(made):
    there, here = made(), made()
    before = there.take(stored(*[frame(step) for step in range(3)]))
    state = there.take(stored(mark("release", step=3), first=4))[0]
    assert (state.said, state.step) == ("state", 2)
    waiting = here.take(stored(mark("prepare", model="summed 1"), frame(3), frame(4)))
    assert [one.said for one in waiting] == ["ready"]
    assert here.offset == 1  # what waits is read again by whoever goes on from here
    assert here.take(stored(mark("install", step=3, data=state.data), frame(5), first=4))[0].said == "installed"
    after = here.take(stored(mark("resume"), frame(6), first=6))
    assert after[0].said == "resumed"
    undisturbed = made().take(stored(*[frame(step) for step in range(7)]))
    assert sums(before) + sums(after) == sums(undisturbed)


def test_an_engine_that_dies_while_frames_wait_reads_them_again(made):
    records = stored(frame(0, 1), mark("prepare"), frame(3), frame(1, 1), frame(4))
    here = made()
    here.take(records)
    again = made(here.snapshot())
    assert again.read_offset == 2
    given = again.take([*records[2:], *stored(mark("install", step=3), first=6)])
    assert [one.said for one in given] == ["installed"]  # step 1 of rank 1 was answered before
    again = made(again.snapshot())  # now with the state, and frames behind it
    given = again.take([*records[2:], *stored(mark("install", step=3), mark("resume"), first=6)])
    assert [one.step for one in given if isinstance(one, Answer)] == [3, 4]


@pytest.mark.parametrize("marks", [["prepare"], ["prepare", "install"]])
def test_what_waited_is_not_answered_here_once_it_is_let_go(made, marks):
    here = made()
    given = here.take(stored(*[mark(one, step=3) for one in marks], frame(3), mark("let_go"), frame(4)))
    assert [getattr(one, "said", "") for one in given][-2:] == ["left", ""]
    assert "elsewhere" in given[-1].why
    assert here.offset == 3 + len(marks)
    assert made(here.snapshot()).read_offset == here.offset


def test_more_than_may_wait_in_memory_is_the_other_side_s(made, monkeypatch):
    monkeypatch.setattr(operator_module, "MOST_WAITING_BYTES", 100)
    here = made()
    given = here.take(stored(mark("prepare"), frame(3), frame(4), frame(5), frame(6)))
    assert [getattr(one, "said", "") for one in given] == ["ready", "refused", ""]
    assert "more than 100 bytes wait" in given[1].detail
    assert (given[2].offset, here.offset) == (5, 5)


def test_analyses_that_cannot_be_loaded_or_closed_are_named(tmp_path, monkeypatch):
    config, closed = coupling(), []
    config.analyses["moments"] = type(config.analyses["summed"])("moments")
    analyses = Analyses(config, tmp_path)
    with pytest.raises(ValueError, match="did you mean 'pattern'"):
        analyses.of_stream("patern")
    for name in ("summed", "moments"):
        monkeypatch.setattr(analyses.get(name), "close", lambda name=name: closed.append(name) or 1 / 0)
    with pytest.raises(RunError, match="cannot be closed: ZeroDivisionError"):
        analyses.close()
    assert sorted(closed) == ["moments", "summed"]
    monkeypatch.setattr(Summed, "open", lambda *_: 1 / 0)
    with pytest.raises(RunError, match="'summed' cannot be loaded: ZeroDivisionError"):
        analyses.get("summed")


def test_a_released_lane_answers_nothing_more_until_it_is_installed_again(made):
    here = made()
    given = here.take(stored(frame(0), mark("release", step=1), frame(1), mark("let_go"), mark("prepare"), frame(2)))
    assert [getattr(one, "said", "") for one in given] == ["", "state", "left", "ready"]
    given = here.take(stored(mark("install", step=2, data=given[1].data), mark("resume"), first=7))
    assert sums(given) == [(2, 0, 15.0 + 27.0)]


def test_a_released_lane_that_resumes_goes_on_as_if_nothing_had_been(made):
    here = made()
    records = stored(frame(0), mark("release", step=1), frame(1), frame(2), mark("resume"), frame(3))
    given = here.take(records[:4])
    again = made(here.snapshot())  # killed in between
    given += again.take([*records[2:]])
    assert sums(given) == sums(made().take(stored(*[frame(step) for step in range(4)])))


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([mark("install", step=1)], "prepared"),
        ([frame(0), mark("let_go")], "must wait to be let go"),
        ([mark("prepare"), mark("resume")], "with a state"),
        ([frame(0), mark("resume")], "must wait"),
        ([frame(0), mark("release", step=1), mark("prepare")], "another migration"),
        ([frame(0), mark("prepare")], "already"),
        ([frame(5), mark("release", step=5)], "behind its answers"),
        ([mark("prepare"), frame(2), mark("install", step=3)], "must follow their preparation"),
        ([mark("prepare", model="another")], "model must be 'another', got 'summed 1'"),
        ([mark("prepare", analysis="sumed")], "must be answered by 'summed', got 'sumed'"),
        ([mark("prepare"), mark("install", step=3, data=b"CDISTATE" + bytes(30))], "damaged"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(made, records, why):
    replies = [one for one in made().take(stored(*records)) if isinstance(one, Reply)]
    assert replies[-1].said == "refused"
    assert why in replies[-1].detail


def test_a_refused_preparation_leaves_a_lane_that_is_being_answered_as_it_is(made):
    given = made().take(stored(frame(0), mark("prepare"), frame(1)))
    assert [one.step for one in given if isinstance(one, Answer)] == [0, 1]


@pytest.mark.parametrize(
    "change",
    [{"model": "summed 2"}, {"analysis": "other"}, {"rank": 1}, {"stream": "density"}, {"step": 7}],
)
def test_a_state_of_something_else_is_refused(made, change):
    told = {"analysis": "summed", "model": "summed 1", "stream": "pattern", "rank": 0, "step": 2} | change
    state = OperatorState(**told, data=bytes(8)).encode()
    given = made().take(stored(mark("prepare"), mark("install", step=3, data=state), frame(3)))
    assert [getattr(one, "said", "") for one in given] == ["ready", "refused", ""]


def test_a_state_is_whole_or_refused():
    state = OperatorState("summed", "summed 1", "pattern", 0, 2, bytes(range(200)))
    encoded = state.encode()
    assert bytes(OperatorState.decode(encoded).data) == bytes(range(200))
    with pytest.raises(StateRefusedError, match="version"):
        _reversioned(encoded)
    for cut in (0, 8, 15, 60, len(encoded) - 1):
        with pytest.raises(StateRefusedError):
            OperatorState.decode(encoded[:cut])
    for place in (0, 9, 13, 40, len(encoded) - 1):
        damaged = bytearray(encoded)
        damaged[place] ^= 0x10
        with pytest.raises(StateRefusedError):
            OperatorState.decode(bytes(damaged))


def _reversioned(encoded):
    import zlib

    body = encoded[16:].replace(b'"version": 1', b'"version": 9')
    return OperatorState.decode(encoded[:12] + zlib.crc32(body).to_bytes(4, "little") + body)


def test_a_snapshot_of_another_topic_or_model_is_refused(made, tmp_path, monkeypatch):
    operator = made()
    operator.take(stored(frame(0)))
    snapshot = operator.snapshot()
    with pytest.raises(StateRefusedError, match="snapshot must be of"):
        Operator(
            frames_topic("other", "pattern", 0, 1), Analyses(coupling(), tmp_path), PayloadStore(tmp_path), snapshot
        )
    monkeypatch.setattr(Summed, "model", "summed 2")
    with pytest.raises(StateRefusedError, match="summed 2"):
        made(snapshot)
    with pytest.raises(StateRefusedError, match="whole"):
        made(snapshot[:-3])


def version(folder, number, **options):
    Versions(folder / "versions").write(Version("summed", number, options or {"version": number}))


@pytest.fixture
def versioned(tmp_path):
    """Makes operators whose analysis has the versions 1, with a model of its own, and 2, which cannot be built."""
    version(tmp_path, 1)
    version(tmp_path, 2, sped="fast")

    def make(snapshot=b""):
        analyses = Analyses(coupling("transit_twins:Slow"), tmp_path, versions=Versions(tmp_path / "versions"))
        return Operator(TOPIC, analyses, PayloadStore(tmp_path / "payloads"), snapshot)

    return make


def models(given):
    return [(one.step, one.model[-1]) for one in given if isinstance(one, Answer)]


LOADED, SWITCHED = mark("load", number=7), mark("switch", step=2)


@pytest.fixture
def changed(tmp_path):
    """Frames of steps 0 to 4; from 2 on another version is to answer."""
    version(tmp_path, 7, version=7)
    return stored(frame(0), LOADED, frame(1), SWITCHED, frame(2), frame(3), mark("resume", number=7), frame(4))


def test_a_version_takes_over_at_the_cut_and_goes_on_from_what_was_kept(versioned, changed):
    given = versioned().take(changed)
    assert models(given) == [(0, "1"), (1, "1"), (2, "7"), (3, "7"), (4, "7")]
    assert [one.said for one in given if isinstance(one, Reply)] == ["ready", "installed", "resumed"]
    assert next(one.model for one in given if isinstance(one, Reply)) == "summed 7", "it shows what it is before"
    assert [total for _, _, total in sums(given)] == [15.0 * (n + 1) + 6 * sum(range(n + 1)) for n in range(5)]


def test_a_version_that_is_not_wanted_leaves_the_old_one_as_it_was(versioned, changed):
    records = [*changed[:6], *stored(mark("resume"), frame(4), first=7)]
    given = versioned().take(records)
    assert {model for _, model in models(given)} == {"1"}
    assert [total for _, _, total in sums(given)] == [15.0 * (n + 1) + 6 * sum(range(n + 1)) for n in range(5)]


@pytest.mark.parametrize("cut", range(1, 8))
def test_an_engine_that_dies_at_any_phase_of_a_takeover_gives_the_same_answers(versioned, changed, cut):
    operator = versioned()
    given = operator.take(changed[:cut])
    again = versioned(operator.snapshot())
    given += again.take([one for one in changed if one.offset > again.read_offset])
    assert models(given) == models(versioned().take(changed))
    assert sums(given) == sums(versioned().take(changed))


def test_a_version_that_took_over_and_is_gone_ends_the_engine_with_the_reason_until_it_is_back(versioned, changed):
    operator = versioned()
    operator.take(changed[:6])
    path = Path(operator._analyses._versions.path("summed", 7))
    kept = path.read_text()
    path.unlink()
    with pytest.raises(ValueError, match="version 7 of summed must be described in"):
        versioned(operator.snapshot())
    with pytest.raises(ValueError, match="version 7 of summed must be described in"):
        versioned().take(stored(frame(0), mark("resume", number=7)))
    path.write_text(kept)
    given = versioned(operator.snapshot()).take(changed)
    assert models(given) == [(2, "7"), (3, "7"), (4, "7")]


def test_versions_that_nobody_needs_any_more_are_closed(versioned, changed, monkeypatch):
    closed = []
    monkeypatch.setattr(Summed, "close", lambda self: closed.append(self.model))
    operator = versioned()
    operator.take(changed)
    assert closed == []
    back = mark("load", number=0), mark("switch", step=5), mark("resume", number=0), frame(5)
    assert models(operator.take(stored(*back, first=9))) == [(5, "1")]
    assert closed == ["summed 7"]


def test_a_state_that_the_new_version_does_not_take_is_told_and_it_begins_with_nothing(versioned, changed, monkeypatch):
    install = Summed.install

    def choosy(self, stream, rank, state):
        if state and self.model == "summed 7":
            raise ValueError("of another kind")
        install(self, stream, rank, state)

    monkeypatch.setattr(Summed, "install", choosy)
    given = versioned().take(changed)
    assert "does not go on from what was kept of pattern of rank 0: of another kind" in given[3].detail
    assert sums(given)[2] == (2, 0, 27.0)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([frame(0), mark("load", number=3)], "version 3 of summed must be described in"),
        ([frame(0), mark("load", number=2)], "unexpected keyword argument 'sped'"),
        ([frame(0), mark("load", number=-1)], "got no such file"),
        ([frame(0), mark("switch", step=1)], "must have loaded a version"),
        ([frame(4), mark("load", number=1), mark("switch", step=4)], "got step 4 answered"),
        ([mark("prepare"), mark("load", number=1)], "but is waiting"),
        ([frame(0), mark("load", number=1, model="another")], "model must be 'another', got 'summed 1'"),
        ([frame(0), mark("load", analysis="moments")], "must be answered by 'summed', got 'moments'"),
    ],
)
def test_a_version_that_cannot_take_over_is_refused_and_the_old_one_answers_on(versioned, records, why):
    given = versioned().take([*stored(*records), *stored(frame(9), first=len(records) + 1)])
    replies = [one for one in given if isinstance(one, Reply)]
    assert replies[-1].said == "refused"
    assert why in replies[-1].detail
    waits = any(one.action == "prepare" for one in records if isinstance(one, Control))
    assert waits or models(given)[-1] == (9, "1")


def test_more_than_may_wait_for_a_version_is_answered_by_the_old_one(versioned, changed, monkeypatch):
    monkeypatch.setattr(operator_module, "MOST_WAITING_BYTES", 60)
    given = versioned().take(changed)
    assert models(given) == [(0, "1"), (1, "1"), (2, "1"), (3, "1"), (4, "7")]
