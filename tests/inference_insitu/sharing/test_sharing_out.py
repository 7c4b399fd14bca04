"""Who decides how many workers read a node's rings: a rule, or somebody; and what becomes of those that do not come."""

import json

import pytest
from rings import frame, make_ring

from inference_insitu.ring.layout import Side, Word
from inference_insitu.scaling import ScalingConfig
from inference_insitu.sharing import sharing_out as module
from inference_insitu.sharing.holding import begin, decline, holder
from inference_insitu.sharing.sharing_out import SharingOut
from inference_insitu.sharing.wish import NAME, Wish, WishFile
from inference_insitu.watching.events import EventLog, read_events

RINGS, TIMEOUT_S = 4, 5.0


class Node:
    """A node of four rings and three workers; time is given."""

    def __init__(self, folder, **rule):
        self.folder, self.now_s = folder, 0.0
        self.rings = [make_ring(slots=8) for _ in range(RINGS)]
        for ring in self.rings:
            begin(ring.region, 0)
        rule = {"least": 1, "most": 3, "behind": 8, "for_s": 1.0, "pause_s": 1.0} | rule
        self.out = SharingOut(
            [ring.region for ring in self.rings],
            [0, 1, 2],
            ScalingConfig(**rule),
            WishFile(folder),
            EventLog(folder / "events-keeper0.jsonl", "keeper0"),
            timeout_s=TIMEOUT_S,
        )

    def look(self, seconds=1.5, *, times=1):
        for _ in range(times):
            self.now_s += seconds
            self.out.poll(self.now_s)

    def obey(self, *but):
        """Workers take what they are to read, ``but`` some."""
        for ring in self.rings:
            wanted = ring.region.words[Word.WANTED]
            if wanted - 1 not in but:
                ring.region.words[Word.HOLDER] = wanted

    @property
    def holders(self):
        return [holder(ring.region) for ring in self.rings]

    def said(self, event):
        return [one.fields for one in read_events(self.folder) if one.event == event]


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "monotonic", lambda: node.now_s if node else 0.0)
    node = None
    node = Node(tmp_path)
    return node


def test_frames_that_wait_bring_workers_and_none_sends_them_away(node):
    node.look(times=3)
    assert node.holders == [0] * 4
    for ring in node.rings[:2]:
        for step in range(4):
            ring.producer.publish("a", frame(step), step)
    node.look(times=3)
    node.obey()
    node.look()
    assert sorted(node.holders) == [0, 0, 1, 1]
    node.look(times=3)
    node.obey()
    node.look()
    assert sorted(set(node.holders)) == [0, 1, 2]
    for ring in node.rings:
        ring.infer()
    for _ in range(6):
        node.look(times=2)
        node.obey()
    assert node.holders == [0] * 4
    assert [one["count"] for one in node.said("workers_changed")] == [2, 3, 1]


def test_what_is_asked_for_holds_until_the_rule_is_asked_for(node):
    wishes = WishFile(node.folder)
    wishes.write(Wish("one", 2))
    node.look()
    node.obey()
    node.look(times=10)
    assert sorted(node.holders) == [0, 0, 1, 1], "no frame waits, and nobody is sent away"
    wishes.write(Wish("two", None))
    node.look(times=4)
    node.obey()
    node.look(times=2)
    assert node.holders == [0] * 4
    assert [one["wish"] for one in node.said("workers_changed")] == ["one", "two", "two"]


@pytest.mark.parametrize("late", [False, True])
def test_a_worker_that_does_not_come_costs_nothing_but_the_attempt(node, late):
    WishFile(node.folder).write(Wish("one", 3))
    node.look()
    node.obey(1)
    if late:
        node.look(TIMEOUT_S + 1)
    else:
        for ring in node.rings:
            if ring.region.words[Word.WANTED] != ring.region.words[Word.HOLDER]:
                decline(ring.region)
        node.look()
    assert set(node.holders) == {0, 2}
    assert [one["worker"] for one in node.said("worker_not_joined")] == [1]
    WishFile(node.folder).write(Wish("two", 3))
    node.look()
    assert all(ring.region.words[Word.WANTED] != 2 for ring in node.rings), "it is not asked again"


def test_the_rings_of_a_worker_that_is_given_up_go_to_one_that_reads_already_or_to_the_next(node):
    WishFile(node.folder).write(Wish("one", 2))
    node.look()
    node.obey()
    node.look()
    for given_up, heir in ((1, 0), (0, 2)):
        for ring in node.rings:
            if holder(ring.region) == given_up:
                ring.region.words[Word.SUPERVISOR_STATE] = Side.FAILED
        node.look(times=3)  # however late the heir's supervisor answers for it
        assert node.holders == [heir] * 4
    for ring in node.rings:
        ring.region.words[Word.SUPERVISOR_STATE] = Side.FAILED
    node.look()
    assert node.holders == [2] * 4, "nobody is left"
    assert [one["rings"] for one in node.said("workers_changed")][1:] == [
        {"0": 4, "1": 0, "2": 0},
        {"0": 0, "1": 0, "2": 4},
    ]


def test_where_no_other_worker_can_be_had_the_rule_tells_so_once(node):
    for ring in node.rings[:2]:
        for step in range(4):
            ring.producer.publish("a", frame(step), step)
    node.look(times=3)
    assert {ring.region.words[Word.WANTED] - 1 for ring in node.rings} == {0, 1}
    for _ in range(4):
        for ring in node.rings:
            decline(ring.region)
        node.look(times=3)
    told = len(node.said("workers"))
    node.look(times=20)
    assert len(node.said("workers")) == told == 2
    assert node.holders == [0] * 4


def test_an_ending_run_is_left_alone(node):
    node.rings[0].producer.announce_end()
    WishFile(node.folder).write(Wish("one", 3))
    node.look(times=5)
    assert all(ring.region.words[Word.WANTED] == 1 for ring in node.rings)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}', '{"id": "a", "count": "many"}', "null"])
def test_what_is_no_wish_is_none(tmp_path, text):
    wishes = WishFile(tmp_path)
    assert wishes.read() is None
    (tmp_path / NAME).write_text(text)
    assert wishes.read() is None
    (tmp_path / NAME).write_text(json.dumps({"id": "b", "count": 2}) + "\n")
    assert wishes.read() == Wish("b", 2)
