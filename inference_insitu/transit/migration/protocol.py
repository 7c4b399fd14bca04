"""Who answers a run's frames, and how that changes: what one ordered topic of moves says.

Every worker, and whoever asks for a migration, appends moves to the same topic of the log and reads all of them in
its one order. There is no coordinator: each reader folds the same moves to the same standing (a replicated state
machine; Schneider 1990, ACM Comput. Surv. 22, 299), and who died reads them again. Two moves that exclude each
other, the last ``installed`` and an ``abort``, are settled by which came first.

A migration goes through these moves, where every worker stands for the simulation ranks that it serves:

``joined``     of each worker, of so many in all: it takes part; ``gone``: it has nothing to answer any more
``request``    somebody asks for it; its offset in the topic is its number
``ready``      of each worker: the other side has loaded, warmed up and shown the same model; the worker answers
               (or hands over) no step beyond its ``step`` + ``margin`` until the cut is known
*cut*          follows from the last ``ready``: s* = largest ``step`` + ``margin`` + 1
``installed``  of each worker: the old side has ended all before s* and the new one holds its state
*commit*       is the last ``installed``; before it, ``abort`` of anybody ends the migration

That another version of an analysis takes over is agreed on by the same moves: where frames are answered stays, the new
side is the new version, and commit says from which step on it answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from inference_insitu.transit.log.records import Move, Said


class Site(StrEnum):
    """Where frames are answered."""

    IN_SITU = "in_situ"
    IN_TRANSIT = "in_transit"


@dataclass(frozen=True)
class Migration:
    """One under way: its number, where to, the last step that each worker has met, and who has installed.

    Where ``analysis`` is named, ``version`` of it takes over, and ``to`` is where frames are answered anyway.
    """

    id: int
    to: Site
    analysis: str = ""
    version: int = 0
    ready: Mapping[int, int] = field(default_factory=dict)
    installed: frozenset[int] = frozenset()

    @property
    def what(self) -> str:
        """In words."""
        if self.analysis:
            return f"takeover {self.id} by version {self.version} of {self.analysis}"
        return f"migration {self.id} to {self.to}"


@dataclass(frozen=True)
class Ended:
    """How a migration ended. ``cut`` is None where it was not agreed on; ``why`` is empty where it was committed.

    ``analysis`` and ``version`` are as in ``Migration``.
    """

    id: int
    to: Site
    cut: int | None
    why: str = ""
    analysis: str = ""
    version: int = 0

    @property
    def committed(self) -> bool:
        """Whether frames have moved, or their version has."""
        return not self.why


@dataclass(frozen=True)
class Refused:
    """A request that could not be followed, and why; ``busy`` where another one has to end first."""

    id: int
    why: str
    busy: bool = False


@dataclass(frozen=True)
class Agreement:
    """What the moves up to some offset say; ``after`` gives what one more makes of it.

    Parameters
    ----------
    margin : how many steps beyond the last one they have met workers go on before the cut.
    site : who answers.
    workers : those that take part, of ``expected`` in all (0 before the first has joined).
    gone : those that have nothing to answer any more.
    migration : the one under way.
    moved : the last one to another site that was committed.
    versions : who answers for each analysis; those that are not named are answered by number 0, the configured one.
    last : how the last request ended.
    """

    margin: int = 2
    site: Site = Site.IN_SITU
    workers: frozenset[int] = frozenset()
    expected: int = 0
    gone: frozenset[int] = frozenset()
    migration: Migration | None = None
    moved: Ended | None = None
    versions: Mapping[str, int] = field(default_factory=dict)
    last: Ended | Refused | None = None

    @property
    def taking_part(self) -> frozenset[int]:
        """Workers whose word a migration needs."""
        return self.workers - self.gone

    @property
    def over(self) -> bool:
        """Whether every worker of the run was there, and has nothing to answer any more."""
        return 0 < self.expected <= len(self.workers) and not self.taking_part

    @property
    def cut(self) -> int | None:
        """s*, the first step that the new side answers; None until every worker is ready."""
        migration = self.migration
        if migration is None or not migration.ready or not self.taking_part <= migration.ready.keys():
            return None
        # Also of workers that have gone since: what was promised to them holds for the others.
        return max(migration.ready.values()) + self.margin + 1

    def after(self, offset: int, move: Move) -> "Agreement":
        """What holds once ``move``, at ``offset``, is read. A move that does not fit changes nothing."""
        match move.said:
            case Said.JOINED:
                return replace(
                    self,
                    workers=self.workers | {move.worker},
                    expected=max(self.expected, move.step),
                    gone=self.gone - {move.worker},
                )
            case Said.GONE:
                return replace(self, gone=self.gone | {move.worker})._decided()
            case Said.REQUEST:
                return self._asked(offset, move)
        migration = self.migration
        if migration is None or move.id != migration.id:
            return self
        match move.said:
            case Said.READY if move.worker in self.taking_part and self.cut is None:
                ready = {**migration.ready, move.worker: max(move.step, migration.ready.get(move.worker, -1))}
                return replace(self, migration=replace(migration, ready=ready))
            case Said.INSTALLED if move.worker in self.taking_part and self.cut is not None:
                installed = migration.installed | {move.worker}
                return replace(self, migration=replace(migration, installed=installed))._decided()
            case Said.ABORT:
                return self._ended(move.why or "no reason was given")
        return self

    def version(self, analysis: str) -> int:
        """Number of the version that answers for ``analysis``."""
        return self.versions.get(analysis, 0)

    def _asked(self, offset: int, move: Move) -> "Agreement":
        refusal, busy = "", False
        if not move.analysis and move.to not in tuple(Site):
            refusal = f"a migration must go to one of {', '.join(Site)}, got {move.to!r}"
        elif self.migration is not None:
            refusal, busy = f"{self.migration.what} is under way", True
        elif not move.analysis and move.to == self.site:
            refusal = f"frames are answered {self.site} already"
        elif move.analysis and move.number == self.version(move.analysis):
            refusal = f"version {move.number} of {move.analysis} answers already"
        elif not self.workers or len(self.workers) < self.expected:
            missing = sorted(set(range(self.expected)) - self.workers)
            refusal = (
                f"workers {missing} have not joined the log yet" if missing else "no worker has joined the log yet"
            )
        elif not self.taking_part:
            refusal = "every worker has ended"
        if refusal:
            return replace(self, last=Refused(offset, refusal, busy))
        to = self.site if move.analysis else Site(move.to)
        return replace(self, migration=Migration(offset, to, move.analysis, move.number))

    def _decided(self) -> "Agreement":
        """Commit once every worker that takes part has installed; a migration that nobody is left for is aborted."""
        migration, cut = self.migration, self.cut
        if migration is None:
            return self
        if not self.taking_part:
            return self._ended("every worker has ended")
        if cut is None or not self.taking_part <= migration.installed:
            return self
        return self._ended("")

    def _ended(self, why: str) -> "Agreement":
        """The migration is committed, or aborted for ``why``."""
        migration = self.migration
        assert migration is not None
        ended = Ended(migration.id, migration.to, self.cut, why, migration.analysis, migration.version)
        held = replace(self, migration=None, last=ended)
        if why:
            return held
        if migration.analysis:
            return replace(held, versions={**self.versions, migration.analysis: migration.version})
        return replace(held, site=migration.to, moved=ended)
