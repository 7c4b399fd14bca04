"""The durable log: one order, each record once, nothing lost when its server is killed, full and away told apart."""

import os
import resource
import signal
import subprocess
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from transit_twins import MemoryLog, frame

from cdi.errors import MissingDependencyError, RunError
from inference_insitu.transit.log import redis_server
from inference_insitu.transit.log.codec import decoded, encoded
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.redis_log import RedisAddress, RedisLog
from inference_insitu.transit.log.redis_server import RedisServer, redis_program
from inference_insitu.transit.log.retention import retire
from inference_insitu.transit.log.stream_log import ANSWERS, LogAway, LogFull, Once, Record, Topic, frames_topic, lag

try:
    redis_program()
    import redis
except (MissingDependencyError, ImportError) as reason:
    pytestmark = pytest.mark.skip(f"the log's server cannot run here: {reason}")

TOPIC = frames_topic("run", "pattern", 0, 2)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("log")) as running:
        yield running


@pytest.fixture(params=["redis", "twin"])
def log(request):
    if request.param == "twin":
        yield MemoryLog()
        return
    with closing(RedisLog(request.getfixturevalue("server").address)) as one:
        one._client.flushall()
        yield one


def appended(log, count, topic=TOPIC):
    return [log.append(topic, Record(b"%d" % number, bytes(number))) for number in range(count)]


def until_it_fails(log, payload, kept):
    for number in range(40):
        log.append(TOPIC, Record(b"%d" % number, payload))
        kept.append(b"%d" % number)


def test_records_come_back_in_order_from_any_offset(log):
    assert appended(log, 5) == [1, 2, 3, 4, 5]
    assert [(one.offset, one.header, len(one.payload)) for one in log.read(TOPIC, after=2, count=2)] == [
        (3, b"2", 2),
        (4, b"3", 3),
    ]
    assert log.read(TOPIC, after=5, count=2, wait_s=0.02) == []
    assert log.read(frames_topic("run", "pattern", 1, 2), after=0, count=9) == []


def test_a_writer_s_number_is_appended_once(log):
    numbers = [log.append(TOPIC, Record(b"x"), once=Once("a", number)) for number in (0, 1, 1, 0, 2)]
    assert numbers == [1, 2, None, None, 3]
    assert log.append(TOPIC, Record(b"x"), once=Once("b", 0)) == 4
    assert log.append(replace(TOPIC, stream="other"), Record(b"x"), once=Once("a", 0)) == 1


def test_only_what_every_reader_has_committed_is_removed(log):
    appended(log, 6)
    assert (log.register(TOPIC, "engine"), log.register(TOPIC, "watcher")) == (0, 0)
    log.commit(TOPIC, "engine", 5)
    log.commit(TOPIC, "watcher", 3)
    assert (lag(log, TOPIC, "engine"), lag(log, TOPIC, "watcher")) == (1, 3)
    assert log.trim(TOPIC, through=9) == 3
    standing = log.standing(TOPIC)
    assert (standing.first, standing.last) == (4, 6)
    assert log.register(TOPIC, "engine") == 5
    log.forget(TOPIC, "watcher")
    assert log.trim(TOPIC, through=9) == 5
    assert [one.offset for one in log.read(TOPIC, after=0, count=9)] == [6]
    log.commit(TOPIC, "engine", 6)
    log.trim(TOPIC, through=6)
    assert (log.standing(TOPIC).first, log.standing(TOPIC).last, log.standing(TOPIC).held_bytes) == (7, 6, 0)
    assert log.append(TOPIC, Record(b"next")) == 7  # numbers go on though nothing is there


def test_headers_are_had_without_payloads(log):
    appended(log, 4)
    assert log.headers(TOPIC, after=1, through=3, count=9) == [(2, b"1"), (3, b"2")]


def test_retired_records_take_their_payload_files_along(log, tmp_path):
    store = PayloadStore(tmp_path, threshold_bytes=16)
    for step in range(4):
        log.append(TOPIC, encoded(store.laid_out(frame(step))))
    assert len([*tmp_path.iterdir()]) == 4
    assert retire(log, TOPIC, store) == 0  # nobody has said that it read them
    log.register(TOPIC, "engine")
    log.commit(TOPIC, "engine", 4)
    assert retire(log, TOPIC, store, keep=99) == 0
    assert retire(log, TOPIC, store, keep=1) == 3
    (left,) = log.read(TOPIC, after=0, count=9)
    assert [path.name for path in tmp_path.iterdir()] == [decoded(left).data.file]


def test_a_full_topic_takes_more_once_its_reader_has_committed(server):
    with closing(RedisLog(replace(server.address, most_topic_bytes=4000))) as log:
        topic = frames_topic("full", "pattern", 0, 1)
        log.register(topic, "engine")
        record = Record(b"h", bytes(1000))
        assert [log.append(topic, record) for _ in range(3)] == [1, 2, 3]
        with pytest.raises(LogFull, match="at most 4000 bytes"):
            log.append(topic, record)
        log.commit(topic, "engine", 2)
        log.trim(topic, through=2)
        assert log.append(topic, record) == 4


def test_answers_have_room_beside_the_frames_that_fill_the_log(tmp_path):
    with RedisServer(tmp_path / "log", memory_bytes=8 << 20) as server, closing(RedisLog(server.address)) as log:
        topics = [frames_topic("run", "pattern", rank, 2) for rank in (0, 1)]
        for topic in topics:
            log.register(topic, "engine")
        with pytest.raises(LogFull, match="the log with its frames"):
            [log.append(topic, Record(b"h", bytes(1 << 18))) for topic in 20 * topics]
        for number in range(20):
            assert log.append(Topic("run", ANSWERS), Record(b"h", bytes(1 << 14))) == number + 1
        for topic in topics:
            last = log.standing(topic).last
            log.commit(topic, "engine", last)
            log.trim(topic, through=last)
        assert log.append(topics[0], Record(b"h", bytes(1 << 18)))


def test_a_full_memory_is_told_and_ends_when_readers_commit(tmp_path):
    with (
        RedisServer(tmp_path / "log", memory_bytes=6 << 20) as server,
        closing(RedisLog(replace(server.address, most_frame_bytes=1 << 30, most_topic_bytes=1 << 30))) as log,
    ):
        log.register(TOPIC, "engine")
        record = Record(b"h", bytes(1 << 20))
        with pytest.raises(LogFull, match="maxmemory"):
            until_it_fails(log, bytes(1 << 20), [])
        kept = log.standing(TOPIC).last
        assert 1 <= kept < 40
        log.commit(TOPIC, "engine", kept)
        assert log.register(TOPIC, "engine") == kept  # a reader that comes back to a full log
        assert log.trim(TOPIC, through=kept) == kept
        assert log.append(TOPIC, record) == kept + 1


def test_a_disk_that_fills_up_is_told_before_the_server_meets_it(server):
    with (
        closing(RedisLog(replace(server.address, reserve_bytes=1 << 60))) as log,
        pytest.raises(LogFull, match="the disk of"),
    ):
        log.append(Topic("disk", ANSWERS), Record(b"h"))


def test_a_server_that_its_disk_ended_loses_nothing_that_was_acknowledged(tmp_path, monkeypatch):
    def limited():  # a file that does not grow any more, as on a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))

    popen = subprocess.Popen
    monkeypatch.setattr(
        redis_server.subprocess, "Popen", lambda command, **more: popen(command, preexec_fn=limited, **more)
    )
    server = RedisServer(tmp_path / "log")
    kept = []
    with closing(RedisLog(replace(server.start(), patience_s=0.3))) as log:
        with pytest.raises(LogAway, match="does not answer"):
            until_it_fails(log, bytes(1 << 16), kept)
        monkeypatch.undo()
        server.start()
        with closing(server):
            assert [one.header for one in log.read(TOPIC, after=0, count=99)][: len(kept)] == kept
    assert len(kept) > 5


def test_what_was_acknowledged_is_there_after_the_server_was_killed(tmp_path):
    server = RedisServer(tmp_path / "log")
    with closing(server), closing(RedisLog(server.start())) as log:
        log.register(TOPIC, "engine")
        for step in range(20):
            log.append(TOPIC, encoded(frame(step)), once=frame(step).once)
        log.commit(TOPIC, "engine", 7)
        server.kill()
        server.start()
        assert [decoded(one).step for one in log.read(TOPIC, after=0, count=99)] == [*range(20)]
        assert log.committed(TOPIC) == {"engine": 7}
        assert log.append(TOPIC, encoded(frame(19)), once=frame(19).once) is None
        assert log.append(TOPIC, encoded(frame(20)), once=frame(20).once) == 21


def test_a_broker_that_is_away_is_told_after_the_patience_and_waited_for_within_it(tmp_path):
    server = RedisServer(tmp_path / "log")
    address = replace(server.address, patience_s=0.2)
    with closing(RedisLog(address)) as log, pytest.raises(LogAway, match=r"within 0\.2 s"):
        log.append(TOPIC, Record(b"h"))
    with closing(server), closing(RedisLog(replace(address, patience_s=20))) as log:
        threading.Timer(0.3, server.start).start()
        assert log.append(TOPIC, Record(b"h")) == 1


def test_a_server_that_is_left_from_before_makes_place(tmp_path):
    left = RedisServer(tmp_path / "log")
    with closing(RedisLog(left.start())) as log:
        log.append(TOPIC, Record(b"kept"))
    with RedisServer(tmp_path / "log") as second, closing(RedisLog(second.address)) as log:
        assert left.pid is None
        assert [one.header for one in log.read(TOPIC, after=0, count=9)] == [b"kept"]


def test_the_server_is_private(server, tmp_path):
    folder = os.path.dirname(server.address.password_file)
    assert os.stat(server.address.password_file).st_mode & 0o777 == 0o600
    assert os.stat(f"{folder}/redis.conf").st_mode & 0o777 == 0o600
    wrong = tmp_path / "password"
    wrong.write_text("guess")
    for file in ("", str(wrong)):
        with (
            closing(RedisLog(replace(server.address, password_file=file))) as log,
            pytest.raises(LogAway, match="password"),
        ):
            log.append(TOPIC, Record(b"h"))
    client = redis.Redis(port=server.address.port, password=server.address.password, decode_responses=True)
    assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_a_server_that_does_not_start_says_why(tmp_path, server):
    with pytest.raises(RunError, match="redis-server did not start"):
        RedisServer(tmp_path / "log", port=server.address.port).start()


def test_a_missing_server_says_what_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(redis_server.shutil, "which", lambda name, path: None)
    with pytest.raises(MissingDependencyError, match="apt-get install redis-server"):
        RedisServer(tmp_path / "log")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Topic("a b", ANSWERS), "run must be"),
        (lambda: Topic("run", "frame", "x"), "kind must be one of"),
        (lambda: Topic("run", "frames"), "stream must be given"),
        (lambda: Topic("run", ANSWERS, "x"), "stream must be given"),
        (lambda: Topic("run", "frames", "ü" * 101), "at most 200 bytes"),
        (lambda: Topic("run", ANSWERS, partition=-1), "partition must lie"),
        (lambda: frames_topic("run", "x", 0, 0), "partitions must be"),
        (lambda: Record(bytes(1 << 21)), "header must have at most"),
        (lambda: RedisAddress(port=0), "port must lie"),
        (lambda: RedisAddress(patience_s=0), "patience_s must lie"),
        (lambda: RedisAddress(most_topic_bytes=0), "most_topic_bytes must be"),
    ],
)
def test_bad_values_are_one_clear_error(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_what_else_lies_under_a_topic_s_name_is_told(server):
    with closing(RedisLog(server.address)) as log:
        topic = Topic("foreign", ANSWERS)
        log._client.set(topic.name, "x")
        with pytest.raises(LogAway, match="WRONGTYPE"):
            log.committed(topic)


def test_streams_of_any_name_have_topics_of_their_own():
    names = {Topic("run", "frames", stream).name for stream in ("a/b", "a b", "a%2Fb", "answers", "ä")}
    assert len(names) == 5


def test_arrays_come_back_bit_for_bit(log):
    array = np.random.default_rng(1).standard_normal((5, 6, 7)).astype("<f4")
    log.append(TOPIC, encoded(frame(0, array=array, attributes={"load_nN": 1.5})))
    record = decoded(log.read(TOPIC, after=0, count=1)[0])
    np.testing.assert_array_equal(record.array(record.data), array)
    assert record.attributes == {"load_nN": 1.5}
