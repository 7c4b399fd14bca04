"""What every stream engine must do, with real ones: the same answers as in situ, each once, whatever is killed.

An engine takes a minute to start, so the tests of one share it, in their order. Skipped where it is not installed.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from transit_twins import frame

sys.path.insert(0, str(Path(__file__).parents[1]))

from small_network import write_untrained

from cdi.errors import MissingDependencyError
from inference_insitu.inference.analysis import build_analysis
from inference_insitu.inference.defects import example
from inference_insitu.inference.frame import Frame
from inference_insitu.transit.engines.durable import TABLE
from inference_insitu.transit.engines.engine import RunningEngine, engine
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.log.codec import decoded, encoded
from inference_insitu.transit.log.records import Alert, Answer, Quarantined
from inference_insitu.transit.log.redis_server import RedisServer, redis_program
from inference_insitu.transit.log.stream_log import ALERTS, ANSWERS, QUARANTINE, Record, Topic, frames_topic
from inference_insitu.transit.results.results_table import read_table
from inference_insitu.transit.results.rows import COLUMNS
from inference_insitu.transit.results.views import shipped_views

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

START_S, ANSWER_S = 900.0, 300.0
PARTITIONS = 2
COUPLING = """
streams: {{pattern: {{analysis: summed}}, network: {{analysis: defects}}}}
analyses:
  summed: {{plugin: "transit_twins:Slow", options: {{pause_s: 0.02}}, batch: {{size: 4}}}}
  defects: {{plugin: defects, options: {{model: "{model}", device: cpu, threads: 1}}, batch: {{size: 1}}}}
"""


class Site:
    """A log with its server, a job and its engine."""

    def __init__(self, kind, folder):
        self.folder = folder
        model = write_untrained(folder)
        (folder / "coupling.yaml").write_text(COUPLING.format(model=model))
        self.server = RedisServer(folder / "log")
        self.job = TransitJob(
            "run",
            str(folder / "coupling.yaml"),
            str(folder / "job"),
            log=self.server.start(),
            partitions=PARTITIONS,
            conditions={"material": "Cu", "temperature_K": 10.0},
            views=shipped_views(),
            history=str(write_history(folder / "earlier")),
        )
        self.log = self.job.open_log()
        self.engine = RunningEngine(engine(kind), self.job)
        self.sent = {}

    def send(self, steps, ranks=(0,), stream="pattern", make=frame, **more):
        store = self.job.store()
        for step in steps:
            for rank in ranks:
                one = make(step, rank, **more)
                one = store.laid_out(type(one)(**{**vars(one), "stream": stream, "sent_ns": time.time_ns()}))
                self.log.append(frames_topic("run", stream, rank, PARTITIONS), encoded(one), once=one.once)
                self.sent[stream, step, rank] = one

    def answers(self):
        found = [decoded(one) for one in self.log.read(Topic("run", ANSWERS), after=0, count=100_000)]
        return [one for one in found if isinstance(one, Answer)]

    def wait(self, count, timeout_s=ANSWER_S):
        return until(lambda: (found := self.answers()) and len(found) >= count and found, timeout_s, self.said)

    def said(self):
        return (Path(self.job.folder) / "engine.log").read_text(errors="replace")[-3000:]


def until(ask, timeout_s, said):
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if found := ask():
            return found
        time.sleep(0.05)
    raise AssertionError(f"it did not come within {timeout_s} s; the engine says: {said()}")


def write_history(folder):
    """Two earlier runs of copper at 10 K: a line density of about 1e-4 at loads of 0 to 50 nN."""
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    for run in ("a", "b"):
        (folder / run / TABLE).mkdir(parents=True)
        rows = [dict.fromkeys(COLUMNS) for _ in range(20)]
        for step, row in enumerate(rows):
            row |= {"run": run, "stream": "pattern", "step": step, "rank": 0, "outcome": "inferred", "model": "x"}
            row |= {"material": "Cu", "temperature_K": 10.0, "load_nN": 2.0 * step}
            row |= {"line_density_per_A2": 1e-4 + 1e-5 * (step % 3)}
        from inference_insitu.transit.results.results_table import _schema

        for last in (10, 20):  # the first file was joined to a larger one by a writer that died then
            path = folder / run / TABLE / f"part-000000000001-{last:012d}.parquet"
            parquet.write_table(arrow.Table.from_pylist(rows[:last], schema=_schema()), path)
    return folder


@pytest.fixture(scope="module", params=["flink", "spark"])
def site(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(Path(__file__).parent))
    try:
        redis_program()
        one = Site(request.param, folder)
        one.engine._kind.command(one.job, None)
    except MissingDependencyError as error:
        patch.undo()
        pytest.skip(str(error))
    try:
        one.engine.start()
        one.engine.wait_running(START_S)
        yield one
    finally:
        one.engine.kill()
        one.log.close()
        one.server.stop()
        patch.undo()


def in_situ(site, name, stream):
    """What the same analysis says in this process, as a worker asks it."""
    one = site.job.coupling_config().analyses[name]
    analysis = build_analysis(one.plugin, one.options | ({"pause_s": 0.0} if name == "summed" else {}))
    found = {}
    for (where, step, rank), record in sorted(site.sent.items(), key=lambda item: item[0][1:]):
        if where == stream:
            array = record.array(site.job.store().read(record.data))
            (values,) = analysis.answer([Frame(stream, rank, step, array, record.attributes)])
            found[step, rank] = json.loads(json.dumps({**values, "seconds": 0}))
    return found


def in_transit(site, stream):
    found = [one for one in site.answers() if one.stream == stream]
    keys = [(one.step, one.rank) for one in found]
    assert len(keys) == len(set(keys))
    return {(one.step, one.rank): {**one.values, "seconds": 0} for one in found}


def test_answers_are_those_of_in_situ_bit_for_bit(site):
    site.send(range(10), ranks=(0, 1, 2))
    for step in range(2):
        pattern = example((32, 32, 32)).counts * (step + 1)
        site.send([step], stream="network", array=pattern.astype("<f4"))
    assert {one.outcome for one in site.wait(32)} == {"inferred"}
    assert in_transit(site, "pattern") == in_situ(site, "summed", "pattern")
    assert in_transit(site, "network") == in_situ(site, "defects", "network")
    table = until(lambda: (t := read_table(Path(site.job.folder) / TABLE)).num_rows >= 32 and t, 30, site.said)
    assert table.num_rows == 32


def test_nothing_listens_but_on_loopback(site):
    psutil = pytest.importorskip("psutil")
    main = psutil.Process(site.engine._process.pid)
    listening = [
        found.laddr.ip
        for process in [main, *main.children(recursive=True)]
        for found in process.net_connections("inet")
        if found.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} <= {"127.0.0.1", "::1"}


def test_killed_in_the_middle_of_a_batch_it_loses_no_step_and_answers_none_twice(site):
    before = len(site.answers())
    site.send(range(10, 50), ranks=(0, 1), attributes={"slow": 10})
    site.wait(before + 8)
    site.engine.kill()
    assert len(site.answers()) < before + 80
    site.send(range(50, 55), ranks=(0, 1))  # nobody is there: the log keeps them
    site.engine.start()
    site.wait(before + 90, START_S)
    assert in_transit(site, "pattern") == in_situ(site, "summed", "pattern")
    assert site.engine.wait_running(START_S).state == "running"


def test_a_poisoned_record_is_set_aside_and_a_broker_that_was_killed_waited_for(site):
    topic = frames_topic("run", "pattern", 0, PARTITIONS)
    site.log.append(topic, Record(b"\x80\x04K\x01."))
    before = len(site.answers())
    site.send(range(70, 75))
    site.wait(before + 5)
    (told,) = [decoded(one) for one in site.log.read(Topic("run", QUARANTINE), after=0, count=9)]
    assert isinstance(told, Quarantined)
    site.server.kill()
    time.sleep(0.5)
    site.server.start()
    site.send(range(75, 80))
    site.wait(before + 10, START_S)
    assert in_transit(site, "pattern") == in_situ(site, "summed", "pattern")


def test_views_compare_with_earlier_runs_and_their_alerts_come_to_the_log(site):
    site.send(range(80, 82), attributes={"load_nN": 20.0, "density": 1.05e-4})
    site.send(range(82, 83), attributes={"load_nN": 20.0, "density": 9e-4})
    alerts = until(lambda: site.log.read(Topic("run", ALERTS), after=0, count=99), ANSWER_S, site.said)
    (alert,) = [decoded(one) for one in alerts]
    assert isinstance(alert, Alert)
    assert (alert.view, alert.stream, alert.rank, alert.step) == ("alert", "pattern", 0, 82)
    deviation = np.std(1e-5 * (np.arange(20) % 3))
    mean = np.mean(1e-4 + 1e-5 * (np.arange(20) % 3))
    assert alert.values["z"] == pytest.approx((9e-4 - mean) / deviation)
    assert alert.values["compared_with"] == 40
    until(lambda: told_over_time(site) == len(in_transit(site, "pattern")), ANSWER_S, site.said)


def told_over_time(site):
    """How many frames of the pattern the windows have; of a window the last row counts."""
    path = Path(site.job.folder) / "views/over_time.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    newest = {row["window_start_s"]: row["frames"] for row in rows if row["stream"] == "pattern"}
    return sum(newest.values())


def test_stopped_with_a_savepoint_it_goes_on_and_refuses_the_state_of_another_model(site):
    stopped = site.engine.stop()
    assert (stopped.state, stopped.problem) == ("stopped", "")
    topic = frames_topic("run", "pattern", 0, PARTITIONS)
    assert stopped.committed[topic.name] == site.log.standing(topic).last
    coupling = Path(site.job.coupling)
    text = coupling.read_text()
    coupling.write_text(text.replace("pause_s: 0.02", "pause_s: 0.0, version: 2"))
    site.send(range(83, 85))
    site.engine.start()
    failed = until(lambda: (s := site.engine.status()).state in ("failed", "dead") and s, START_S, site.said)
    assert "summed 2" in failed.problem
    coupling.write_text(text)
    before = len(site.answers())
    site.engine.start()
    site.wait(before + 2, START_S)
    assert in_transit(site, "pattern") == in_situ(site, "summed", "pattern")
