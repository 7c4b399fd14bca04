"""A partition's way through an engine's process: nothing lost or twice whatever dies when; the table of its answers."""

import json
from pathlib import Path

import pytest
from transit_twins import MemoryLog, Summed, frame

from inference_insitu.transit.engines import durable as durable_module
from inference_insitu.transit.engines import partition as partition_module
from inference_insitu.transit.engines.durable import Durable
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.engines.partition import READER, SEEN, Partition
from inference_insitu.transit.engines.under_way import UnderWay
from inference_insitu.transit.log.codec import decoded, encoded
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import Answer, Control, Quarantined, Reply
from inference_insitu.transit.log.stream_log import ANSWERS, QUARANTINE, LogFull, Record, Topic, frames_topic
from inference_insitu.transit.operators.analyses import Analyses
from inference_insitu.transit.results.answer_rows import AnswerRows
from inference_insitu.transit.results.results_table import MOST_PARTS, ResultsTable, parts, read_table

TOPIC = frames_topic("run", "pattern", 0, 1)
COUPLING = """
streams: {pattern: {analysis: summed}}
analyses: {summed: {plugin: "transit_twins:Summed", batch: {size: 4}}}
"""


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "coupling.yaml"
    path.write_text(COUPLING)
    job = TransitJob("run", str(path), str(tmp_path / "job"), snapshot_s=1e-6, conditions={"material": "Cu"})
    job.write()
    return job


@pytest.fixture
def log():
    return MemoryLog()


def partition(job, log, snapshot=b""):
    folder = Path(job.folder)
    return Partition(job, TOPIC, log, Analyses(job.coupling_config(), folder), job.store(), snapshot)


def append_frames(log, steps, topic=TOPIC):
    for step in steps:
        one = frame(step)
        log.append(topic, encoded(one), once=one.once)


def answers(log):
    found = [decoded(one) for one in log.read(Topic("run", ANSWERS), after=0, count=10_000)]
    return [one for one in found if isinstance(one, Answer)]


def test_an_engine_that_dies_at_any_moment_loses_nothing_and_repeats_nothing(job, log):
    append_frames(log, range(12))
    snapshots = [b""]
    for cut in (3, 6, 9):  # dies after it has answered, before its engine has the new state
        one = partition(job, log, snapshots[-1])
        one.advance(through=cut)
        if cut != 6:
            snapshots.append(one.snapshot())
    last = partition(job, log, snapshots[-2])
    while last.advance():
        pass
    assert [one.step for one in answers(log)] == [*range(12)]
    sums = [one.values["sum"] for one in answers(log)]
    assert sums == [15.0 * (step + 1) + 6 * sum(range(step + 1)) for step in range(12)]


def test_no_snapshot_is_due_while_frames_wait_for_a_migration_s_end(job, log, monkeypatch):
    """What waits would wait for it as well; whoever goes on from the one before meets the marks again."""
    monkeypatch.setattr(partition_module, "SNAPSHOT_SHARE", 0)  # else one is due the later the longer the last took
    one = partition(job, log)
    append_frames(log, range(3))
    one.advance()
    assert one.snapshot_due
    kept = one.snapshot()
    log.append(TOPIC, encoded(Control("run", "pattern", 0, "release", "7.release", step=3)))
    append_frames(log, range(3, 5))
    one.advance()
    assert not one.snapshot_due
    log.append(TOPIC, encoded(Control("run", "pattern", 0, "resume", "7.resume")))
    one.advance()
    assert one.snapshot_due
    again = partition(job, log, kept)
    while again.advance():
        pass
    assert [answer.step for answer in answers(log)] == [0, 1, 2, 3, 4]
    assert again.snapshot() == one.snapshot()


def test_what_a_process_died_with_is_in_hand_alone_and_is_given_up_at_last(job, log, monkeypatch):
    append_frames(log, range(5))

    class Died(BaseException):
        pass

    def deadly(self, frames):
        if any(one.step == 2 for one in frames):
            raise Died
        return [{"sum": float(one.step)} for one in frames]

    monkeypatch.setattr(Summed, "answer", deadly)
    for _ in range(partition_module.MOST_RECORDS):
        try:
            one = partition(job, log)
            while one.advance():
                pass
            break
        except Died:
            continue
    assert [(one.step, one.outcome) for one in answers(log)] == [
        (0, "inferred"),
        (1, "inferred"),
        (2, "lost"),
        (3, "inferred"),
        (4, "inferred"),
    ]


def test_attempts_outlive_the_process_and_a_broken_file_is_begun_anew(tmp_path):
    path = tmp_path / "under" / "way"
    UnderWay(path).take(4, 6)
    second = UnderWay(path)
    assert second.attempts == {4: 1, 5: 1, 6: 1}
    second.take(5, 5)
    assert UnderWay(path).attempts == {5: 2}
    UnderWay(path).take(0, 0)
    path.write_bytes(b"nonsense")
    assert UnderWay(path).attempts == {}


def test_a_poisoned_record_is_told_in_the_quarantine(job, log):
    append_frames(log, [0])
    log.append(TOPIC, Record(b"\x80\x04nonsense"))
    append_frames(log, [1])
    one = partition(job, log)
    one.advance()
    assert [one.step for one in answers(log)] == [0, 1]
    (told,) = [decoded(one) for one in log.read(Topic("run", QUARANTINE), after=0, count=9)]
    assert (told, type(told)) == (Quarantined("run", TOPIC.name, 2, told.why), Quarantined)


def test_a_full_answers_topic_is_waited_for(job, log, monkeypatch, capsys):
    append_frames(log, [0])
    whole, refusals = log.append_all, iter(range(3))

    def full(topic, records):
        if next(refusals, None) is not None:
            raise LogFull("no room")
        return whole(topic, records)

    monkeypatch.setattr(log, "append_all", full)
    monkeypatch.setattr(partition_module, "FULL_PAUSE_S", 0.001)
    one = partition(job, log)
    one.advance()
    assert [one.step for one in answers(log)] == [0]
    assert capsys.readouterr().err.count("no room") == 1
    monkeypatch.setattr(partition_module, "FULL_TIMEOUT_S", 0.0)
    append_frames(log, [1])
    monkeypatch.setattr(log, "append_all", _never)
    with pytest.raises(LogFull, match="never"):
        one.advance()


def _never(topic, records):
    raise LogFull("never")


def test_only_what_a_later_checkpoint_holds_is_committed(job, log):
    checkpoints = [0]
    append_frames(log, range(6))
    durable = Durable(job, log, job.store(), lambda: checkpoints[0])
    one = partition(job, log)
    one.advance()
    one.snapshot()
    one.kept()
    assert log.committed(TOPIC)[SEEN] == 6
    for checkpoint, committed in ((0, 0), (1, 0), (2, 6)):
        checkpoints[0] = checkpoint
        durable.look()
        assert log.committed(TOPIC)[READER] == committed
    assert log.standing(TOPIC).first == 7


def test_states_in_old_replies_go_with_them_and_nothing_is_kept_for_views_that_are_gone(job, log, monkeypatch):
    monkeypatch.setattr(durable_module, "KEPT_ANSWERS", 0)
    folder, topic = Path(job.folder) / "payloads", Topic("run", ANSWERS)
    store = PayloadStore(folder, threshold_bytes=16)
    log.append(topic, encoded(store.laid_out(Reply("run", "pattern", 0, "m", "state", 1, data=bytes(99)))))
    log.register(topic, "views")  # of an earlier life
    durable = Durable(job, log, store, lambda: 0)
    assert len([*folder.iterdir()]) == 1
    durable.finish()  # the table has it
    durable.finish()
    assert [*folder.iterdir()] == []
    assert log.read(topic, after=0, count=9) == []


def test_the_table_has_each_answer_once_whoever_writes_it_and_joins_small_files(job, log, tmp_path):
    folder = tmp_path / "table"
    one = partition(job, log)
    for step in range(2 * MOST_PARTS):
        append_frames(log, [step])
        one.advance()
        ResultsTable(folder, log, "run", job.conditions).advance()  # a new writer each time, as after a death
        assert read_table(folder)["step"].to_pylist() == [*range(step + 1)]
    assert len(parts(folder)) <= MOST_PARTS + 1
    assert len([*folder.iterdir()]) == len(parts(folder))
    table = read_table(folder)
    assert set(table["material"].to_pylist()) == {"Cu"}
    assert json.loads(table["answer"][1].as_py())["sum"] == 36.0
    assert table["defects"].to_pylist()[:2] == [0, 0]


def test_a_reader_in_the_middle_of_a_joining_sees_every_row_once(job, log, tmp_path):
    folder = tmp_path / "table"
    one = partition(job, log)
    for step in range(3):
        append_frames(log, [step])
        one.advance()
        ResultsTable(folder, log, "run", {}).advance()
    table = read_table(folder)
    writer = ResultsTable(folder, log, "run", {})
    writer._write(1, 3, table)  # the larger one is there, the small ones not gone yet
    assert read_table(folder)["step"].to_pylist() == [0, 1, 2]


def test_replies_are_no_rows_and_rows_go_on_behind_the_last_file(job, log, tmp_path):
    one = partition(job, log)
    for step in range(3):
        log.append(TOPIC, encoded(Control("run", "pattern", 0, "resume", f"m{step}")))
        append_frames(log, [step])
        one.advance()
        AnswerRows(tmp_path / "rows", log, "run", {}).advance()
    lines = [
        line for path in sorted((tmp_path / "rows").glob("rows-*.jsonl")) for line in path.read_text().splitlines()
    ]
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]


def test_a_job_is_read_back_strictly(job):
    assert TransitJob.read(job.path) == job
    values = json.loads(job.path.read_text())
    job.path.write_text(json.dumps(values | {"partition": 2}))
    with pytest.raises(ValueError, match="did you mean 'partitions'"):
        TransitJob.read(job.path)
    job.path.write_text("[1")
    with pytest.raises(ValueError, match="description of a job"):
        TransitJob.read(job.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"partitions": 0}, "partitions must lie"),
        ({"parallelism": 0}, "parallelism must lie"),
        ({"checkpoint_s": 0.0}, "checkpoint_s must be positive"),
        ({"keep_records": -1}, "keep_records must be"),
        ({"run": "a/b"}, "run must be"),
    ],
)
def test_a_job_s_bad_values_are_one_clear_error(change, message):
    with pytest.raises(ValueError, match=message):
        TransitJob(**{"run": "run", "coupling": "c", "folder": "f"} | change)


def test_a_stream_that_the_coupling_does_not_have_names_the_nearest(job):
    with pytest.raises(ValueError, match="did you mean 'pattern'"):
        TransitJob("run", job.coupling, job.folder, streams=("patern",)).coupling_config()
