"""A whole run in one thread: ranks that publish, workers with their shares, an engine with its operators, a log.

Any part may die at any moment and come again; what happens is told by the rows of the accounts and by ``answered``.
"""

from collections import defaultdict
from dataclasses import replace

from transit_twins import MemoryLog, Summed, coupling, frame

from inference_insitu.inference.elsewhere import Route
from inference_insitu.inference.frame import Variable
from inference_insitu.transit.account import Account
from inference_insitu.transit.log.codec import encoded
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import Move, Said
from inference_insitu.transit.log.stream_log import ANSWERS, LogAway, Topic
from inference_insitu.transit.migration.config import MigrationConfig
from inference_insitu.transit.migration.local_versions import LocalVersions
from inference_insitu.transit.migration.marking import Asked
from inference_insitu.transit.migration.moves import Moves
from inference_insitu.transit.migration.protocol import Ended, Site
from inference_insitu.transit.migration.share import Connection, Share
from inference_insitu.transit.operators.analyses import Analyses
from inference_insitu.transit.operators.answering import Turn, answers_to
from inference_insitu.transit.operators.operator import Operator
from inference_insitu.transit.operators.versions import Version, Versions
from inference_insitu.watching.events import EventLog

RUN = "run"
STREAM = "pattern"
VERSIONS = (1, 2)
"""That can be loaded; any other cannot."""


class Versioned(Summed):
    """Goes on from the sum of any version."""

    def __init__(self, *, version=0):
        super().__init__()
        if version:
            self.model = model(version)


def model(version):
    return f"{Summed.model} version {version}" if version else Summed.model


class FaultyLog(MemoryLog):
    """Goes away when it is told to: before an append, or behind it, so that its acknowledgement is lost."""

    def __init__(self):
        super().__init__()
        self.away = self.unacknowledged = 0

    def append_all(self, topic, records):
        self._fail_before()
        kept = super().append_all(topic, records)
        if self.unacknowledged:
            self.unacknowledged -= 1
            raise LogAway("the acknowledgement is lost")
        return kept

    def read(self, topic, *, after, count, wait_s=0.0):
        self._fail_before()
        return super().read(topic, after=after, count=count, wait_s=wait_s)

    def commit(self, topic, reader, offset):
        self._fail_before()
        super().commit(topic, reader, offset)

    def _fail_before(self):
        if self.away:
            self.away -= 1
            raise LogAway("nobody answers")


class Worker:
    """One life of a worker: a ring of frames for each of its ranks, and its share."""

    def __init__(self, run, number, ranks):
        self.run, self.worker, self.ranks = run, number, ranks
        self.mine = {"summed": Versioned()}
        self.versions = LocalVersions(self.mine, self.load, lambda load: load())
        self.account = Account(run.folder, number, origin_ns=0)
        self._met, self._answered = {}, {}
        self._published_before = max((step for rank, step in run.published if rank in ranks), default=-1)
        asked = Asked("summed", Summed.model, Variable("<f8", (2, 3)))
        self.share = Share(
            Connection(run.log, RUN, run.store, run.workers_expected, run.partitions),
            {(STREAM, rank): asked for rank in ranks},
            self,
            self.account,
            run.take,
            lambda alert: run.alerts.append((number, alert)),
            config=run.config,
            events=EventLog(None, "test"),
            clock=lambda: run.now_s,
        )

    # What a migration asks of a worker.
    @property
    def last_met(self):
        return max([self._published_before, *self._met.values()])

    @property
    def ending(self):
        return self.run.over

    def met(self, key):
        return self._met.get(key, -1)

    def last_answered(self, key):
        return self._answered.get(key, -1)

    def waits_below(self, step):
        return any(one.step < step for rank in self.ranks for one in self.run.rings[rank])

    def analysis(self, name):
        return self.mine[name]

    def prepared(self, name, version):
        return self.versions.prepared(name, version)

    def adopt(self, name, version):
        return self.versions.adopt(name, version)

    def load(self, name, version):
        return Analyses(self.run.coupling, self.run.folder, versions=self.run.versions).get(name, version)

    # What a worker does.
    def serve(self):
        away = []
        for rank in self.ranks:
            key, ring = (STREAM, rank), self.run.rings[rank]
            for one in list(ring):
                self._met[key] = max(self.met(key), one.step)
                route = self.share.route(key, one.step)
                if route is Route.WAIT:
                    break
                if route is Route.AWAY:
                    away.append(one)
                    continue
                for answer in answers_to("summed", self.mine["summed"], [Turn(0, one)], self.run.store):
                    self.run.here.append((rank, one.step))
                    self.run.take(answer)
                self._answered[key] = one.step
                ring.remove(one)
        if away:
            self.share.hand_over(away)
            for one in away:
                self.run.handed_over.append((one.rank, one.step))
                self.run.rings[one.rank].remove(one)


class Run:
    def __init__(self, folder, *, workers=2, ranks=3, partitions=2, strides=(1, 1, 1), **config):
        self.folder = folder
        self.log, self.store = FaultyLog(), PayloadStore(folder / "payloads", flushed=False)
        self.config = MigrationConfig(**({"margin": 1, "timeout_s": 1000.0, "idle_s": 5.0} | config))
        self.workers_expected, self.partitions, self.strides = workers, partitions, strides
        self.now_s, self.step, self.over = 0.0, -1, False
        self.ranks = range(ranks)
        self.rings = defaultdict(list)
        self.published, self.handed_over, self.here, self.alerts = [], [], [], []
        self.answers = defaultdict(list)  # by rank: (step, sum, outcome), in the order in which they were known
        self.models, self.published_s, self.cuts = {}, {}, {}
        self.coupling, self.versions = coupling("migration_model:Versioned"), Versions(folder / "versions")
        for number in VERSIONS:
            self.versions.write(Version("summed", number, {"version": number}))
        self.observer = Moves(self.log, RUN, margin=self.config.margin)
        self.engine = None
        self.snapshots = {}
        self.deaths = 0
        self.shares = [[rank for rank in self.ranks if rank % workers == number] for number in range(workers)]
        self.start_engine()
        self.workers = [Worker(self, number, ranks) for number, ranks in enumerate(self.shares)]

    def take(self, answer):
        self.answers[answer.rank].append((answer.step, dict(answer.values).get("sum"), answer.outcome))
        self.models[answer.rank, answer.step] = answer.model
        return answer

    def publish(self):
        self.step += 1
        for rank in self.ranks:
            if self.step % self.strides[rank] == 0:
                one = replace(frame(self.step, rank), published_ns=1)
                self.rings[rank].append(one)
                self.published.append((rank, self.step))
                self.published_s[rank, self.step] = self.now_s

    def ask(self, to):
        return self.observer.say(Move(RUN, Said.REQUEST, to=to))

    def ask_version(self, version):
        return self.observer.say(Move(RUN, Said.REQUEST, analysis="summed", number=version))

    def observe(self):
        """Note when a cut is agreed on, and what comes of it."""
        self.observer.poll()
        migration, cut = self.agreement.migration, self.agreement.cut
        if migration is not None and migration.analysis and cut is not None:
            self.cuts.setdefault(migration.id, self.now_s)

    def start_engine(self):
        topics = [Topic(RUN, "frames", STREAM, partition) for partition in range(self.partitions)]
        analyses = Analyses(self.coupling, self.folder, versions=self.versions)
        self.engine = {topic: Operator(topic, analyses, self.store, self.snapshots.get(topic, b"")) for topic in topics}

    def kill_engine(self):
        self.start_engine()

    def checkpoint(self):
        self.snapshots = {topic: operator.snapshot() for topic, operator in self.engine.items()}

    def engine_works(self, count=3):
        for topic, operator in self.engine.items():
            for given in operator.take(self.log.read(topic, after=operator.read_offset, count=count)):
                self.log.append(Topic(RUN, ANSWERS), encoded(given), once=given.once)

    def kill_worker(self, number):
        """What it had taken out of its rings and not answered is there again; what its analysis kept is gone."""
        self.deaths += 1
        self.workers[number] = Worker(self, number, self.shares[number])

    def settle(self, *, rounds=400):
        """Everything works from now on, until nothing happens any more."""
        self.log.away = self.log.unacknowledged = 0
        for _ in range(rounds):
            self.now_s += 1.0
            for worker in self.workers:
                worker.share.poll()
                worker.serve()
            self.engine_works(50)
            if self.quiet:
                return
        raise AssertionError("the run does not come to rest")

    @property
    def quiet(self):
        self.observe()
        empty = not any(self.rings.values()) and all(worker.share.settled for worker in self.workers)
        return empty and self.agreement.migration is None and all(one.share.resting for one in self.workers)

    @property
    def agreement(self):
        return self.observer.agreement

    def assert_whole(self):
        """Every frame has one answer, in the order of steps; the sums say that no state was lost or used twice."""
        sums = defaultdict(float)
        for rank in self.ranks:
            steps = [step for published, step in self.published if published == rank]
            assert [step for step, _, _ in self.answers[rank]] == steps
            for step, said, outcome in self.answers[rank]:
                assert outcome == "inferred"
                sums[rank] += float(sum(range(6)) + 6 * step + 600 * rank)
                if not self.deaths:
                    assert said == sums[rank], (rank, step)
        self.assert_versions()
        assert len(self.handed_over) == sum(sum(worker.account.outcomes.values()) for worker in self.workers)

    @property
    def takeovers(self):
        """Those that were committed, in order."""
        self.observer.poll()
        return [one for one in self.observer.ended if isinstance(one, Ended) and one.committed and one.analysis]

    def assert_versions(self):
        """Each frame was answered by the version that its step says; of a rank that was not waited for, its mark."""
        for (rank, step), shown in self.models.items():
            version, late = 0, set()
            for one in self.takeovers:
                if step >= one.cut:
                    version, late = one.version, set()
                elif self.published_s[rank, step] > self.cuts[one.id] + self.config.idle_s:
                    late.add(one.version)
            assert shown in {model(one) for one in {version} | late}, (rank, step, shown, version, late)


def sites(run):
    """Where each rank's frames were answered, as seen from the workers' own answers."""
    return {rank: [step for one, step in run.here if one == rank] for rank in run.ranks}


__all__ = ["RUN", "STREAM", "Run", "Site", "model", "sites"]
