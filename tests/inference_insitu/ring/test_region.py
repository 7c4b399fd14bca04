"""A ring's memory: opened only if it is whole, removed with its spill file, reserved when it is made."""

import os
import subprocess
import sys

import pytest
from rings import frame, make_ring

from inference_insitu.ring.layout import Kind, Layout, SlotGroup, Word
from inference_insitu.ring.processes import runs, started_at
from inference_insitu.ring.region import Region


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ring"


def test_another_mapping_sees_the_same_slots(path):
    ring = make_ring(path=path)
    ring.producer.publish("a", frame(1), 1)
    assert [one.step for one in ring.infer()] == [1]
    assert Region.open(path).layout == ring.region.layout


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data[:5000], "cut or overwritten"),
        (lambda data: b"\0" * len(data), "must be a ring"),
        (lambda data: data[:8] + (9).to_bytes(8, "little") + data[16:], "version 3, got 9"),
        (lambda data: data[:4096] + b"?" + data[4097:], "cut or overwritten"),
        (lambda data: data[:100], "must be a ring"),
        (lambda data: b"", "empty"),
    ],
)
def test_what_is_not_a_whole_ring_is_refused(path, spoil, says):
    make_ring(path=path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=says):
        Region.open(path)


def test_a_name_that_is_taken_is_not_overwritten(path):
    make_ring(path=path)
    with pytest.raises(FileExistsError):
        make_ring(path=path)


def test_a_ring_too_large_for_the_memory_is_refused_and_leaves_no_file(path):
    with pytest.raises(OSError, match="bytes for a ring are not to be had"):
        Region.create(Layout((SlotGroup("a", Kind.MEMORY, 1000, 1 << 50),)), rank=0, path=path)
    assert not path.exists()


def test_payloads_lie_on_pages_of_their_own():
    layout = Layout((SlotGroup("a", Kind.MEMORY, 3, 100), SlotGroup("b", Kind.COARSE, 2, 5000)))
    offsets = [place.offset for place in layout.places()]
    assert all(offset % 4096 == 0 for offset in offsets)
    assert len(set(offsets)) == 5
    assert layout.memory_bytes == offsets[-1] + 8192
    assert Layout.decode(layout.encode()) == layout


def test_payloads_on_their_way_to_a_file_lie_behind_all_others_each_with_words_of_its_stream():
    groups = SlotGroup("a", Kind.SPILL, 9, 100, staged=3), SlotGroup("b", Kind.MEMORY, 2, 5000)
    layout = Layout((*groups, SlotGroup("c", Kind.SPILL, 2, 5000, staged=2)), "spill")
    end = list(layout.places())[10].offset + 8192
    first, second = layout.stagings()
    assert (first.offset, first.count, first.stride, second.offset) == (end, 3, 4096, end + 4 * 4096)
    assert layout.memory_bytes == second.offset + 4096 + 2 * 8192
    assert Layout.decode(layout.encode()) == layout


@pytest.mark.parametrize(("kind", "staged"), [(Kind.SPILL, -1), (Kind.SPILL, 33), (Kind.MEMORY, 1)])
def test_places_before_a_file_are_few_and_of_slots_that_spill(kind, staged):
    with pytest.raises(ValueError, match=r"staged must lie in \[0, 32\]"):
        Layout((SlotGroup("a", kind, 40, 100, staged),), "spill")


def test_the_owner_is_known_by_its_start_not_by_its_number_alone(path):
    ring = make_ring(path=path)
    pid, started = ring.region.words[Word.OWNER_PID], ring.region.words[Word.OWNER_STARTED]
    assert pid == os.getpid()
    assert runs(pid, started)
    assert not runs(pid, started - 1)
    assert started_at(2**22 + 1) is None


def test_a_process_that_ended_and_is_not_waited_for_does_not_run():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert started_at(pid) is None
    os.waitpid(pid, 0)


def test_two_who_leave_records_take_turns(path):
    """A worker and a live view: while one is at it the other waits, and goes away where that takes too long."""
    ring = make_ring(path=path)
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX, 1); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        assert not ring.region.leave(b"one")
        other.kill()
        other.wait(timeout=30)
    assert ring.region.leave(b"two")
    assert Region.open(path).leave(b"three")
    assert ring.region.collect() == [b"two", b"three"]
