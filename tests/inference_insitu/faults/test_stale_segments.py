"""What killed runs left in shared memory goes; what anybody uses, owns or only named alike stays."""

import fcntl
import mmap
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from jsonargparse import Namespace

from inference_insitu.doctor.cli import doctor
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Kind, Layout, SlotGroup, Word
from inference_insitu.ring.processes import started_at
from inference_insitu.ring.region import Region
from inference_insitu.ring.stale import remove_stale, stale_segments
from inference_insitu.watching.events import EventLog, read_events

NAME = "cdi-0123456789ab-{}"


@contextmanager
def owner(path: Path, spill: Path | str = "") -> Iterator[int]:
    """A process that holds a ring at ``path`` until it is killed at the end; its number."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            Region.create(layout(spill), rank=7, path=path)
            os.write(writing, b"made")
            time.sleep(60)
        finally:
            os._exit(1)
    try:
        os.close(writing)
        assert os.read(reading, 4) == b"made"
        yield pid
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def layout(spill: Path | str) -> Layout:
    groups = [SlotGroup("heat", Kind.MEMORY, 2, 64)]
    return Layout((*groups, *([SlotGroup("heat", Kind.SPILL, 2, 64)] if spill else [])), str(spill))


def killed(path: Path, spill: Path | str = "") -> int:
    """A ring whose owner has been killed; its process number."""
    with owner(path, spill) as pid:
        return pid


@pytest.fixture
def ring(tmp_path):
    """Where a ring may lie; a folder of its own stands for /dev/shm."""
    return tmp_path / NAME.format(0)


def test_a_ring_of_a_killed_run_is_found_and_removed_with_what_it_spilled(ring, tmp_path):
    spill = tmp_path / "spill-7"
    pid = killed(ring, spill)
    (found,) = stale_segments(tmp_path)
    assert (found.path, found.rank, found.owner_pid, found.spill_file) == (ring, 7, pid, spill)
    assert found.bytes == ring.stat().st_size
    assert remove_stale(tmp_path) == [found]
    assert not list(tmp_path.iterdir())
    assert remove_stale(tmp_path) == []


def test_a_ring_whose_owner_lives_stays(ring, tmp_path):
    with owner(ring):
        assert remove_stale(tmp_path) == []
        assert ring.exists()


def test_a_ring_that_its_worker_still_serves_stays(ring, tmp_path):
    killed(ring)
    consumer = Consumer(Region.open(ring), pid=os.getpid())
    assert remove_stale(tmp_path) == []
    # Either sign is enough: the process in the ring's words, and the lock.
    consumer.region.words[Word.CONSUMER_PID] = 0
    assert remove_stale(tmp_path) == []
    del consumer
    assert [one.path for one in remove_stale(tmp_path)] == [ring]


def test_a_ring_of_a_process_that_lives_stays_even_if_nobody_holds_it(ring, tmp_path):
    """As on a file system without locks."""
    killed(ring)
    with ring.open("r+b") as file:
        words = memoryview(mmap.mmap(file.fileno(), 4096)).cast("q")
        words[Word.SUPERVISOR_PID], words[Word.SUPERVISOR_STARTED] = os.getpid(), started_at(os.getpid()) or 0
        assert remove_stale(tmp_path) == []
        words[Word.SUPERVISOR_STARTED] -= 1  # the number was given to another process since
    assert len(remove_stale(tmp_path)) == 1


def test_a_ring_of_another_container_is_told_by_its_lock(ring, tmp_path):
    """Its process number means nothing here."""
    killed(ring)
    with ring.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert remove_stale(tmp_path) == []
    assert len(remove_stale(tmp_path)) == 1


def test_names_that_only_resemble_a_rings_stay(tmp_path):
    target = tmp_path / "cdi-notes.txt"
    killed(target)
    others = ["cdi-0123456789ab-0x", "cdi-0123456789ab", "cdi-", "xcdi-0123456789ab-0", "cdi-0123456789ab-0\n"]
    for name in others:
        (tmp_path / name).write_bytes(target.read_bytes())
    assert remove_stale(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == len(others) + 1


def test_links_pipes_and_folders_are_not_followed_nor_waited_for(tmp_path):
    target = tmp_path / "precious"
    killed(target)
    (tmp_path / NAME.format(1)).symlink_to(target)
    os.link(target, tmp_path / NAME.format(2))
    os.mkfifo(tmp_path / NAME.format(3))
    (tmp_path / NAME.format(4)).mkdir()
    assert remove_stale(tmp_path) == []
    assert target.exists()


def test_what_is_no_ring_stays(ring, tmp_path):
    ring.write_bytes(b"somebody else's" * 1000)
    os.utime(ring, (0, 0))
    assert remove_stale(tmp_path) == []
    assert ring.exists()


def test_a_ring_that_was_never_finished_goes_once_it_is_old(ring, tmp_path):
    ring.write_bytes(bytes(8192))
    assert remove_stale(tmp_path) == []
    os.utime(ring, (time.time() - 3600,) * 2)
    assert len(remove_stale(tmp_path)) == 1


@pytest.mark.parametrize("spill", ["precious", "spill-7", "spill-8"])
def test_only_a_spill_file_of_the_rings_own_kind_is_removed(ring, tmp_path, spill):
    """The ring's text is not trusted: another name, a link, another size."""
    named = tmp_path / spill
    killed(ring, named)
    named.unlink()
    (tmp_path / "precious").write_bytes(bytes(8192))
    if spill == "spill-7":
        named.symlink_to(tmp_path / "precious")
    if spill == "spill-8":
        named.write_bytes(b"short")
    (removed,) = remove_stale(tmp_path)
    assert removed.path == ring
    assert named.exists()
    assert (tmp_path / "precious").exists()


def test_a_spill_file_that_is_used_stays(ring, tmp_path):
    spill = tmp_path / "spill-7"
    killed(ring, spill)
    with spill.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert [one.path for one in remove_stale(tmp_path)] == [ring]
    assert spill.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_ring_stays(ring, tmp_path):
    killed(ring)
    os.chown(ring, 12345, 12345)
    assert remove_stale(tmp_path) == []
    assert ring.exists()


def test_an_attach_tells_what_it_removed(ring, tmp_path, monkeypatch):
    """One rank of each node does so."""
    module = import_module("inference_insitu.placement.joined")
    monkeypatch.setattr(module, "remove_stale", lambda: remove_stale(tmp_path))
    killed(ring)
    events = EventLog(tmp_path / "events-simulation0.jsonl", "simulation0")
    module.sweep(SimpleNamespace(first_of_node=False), events)
    assert ring.exists()
    module.sweep(SimpleNamespace(first_of_node=True), events)
    (told,) = read_events(tmp_path)
    assert (told.event, told.fields["path"], told.fields["rank"]) == ("stale_removed", str(ring), 7)


def test_the_doctor_cleans(ring, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(remove_stale, "__defaults__", (tmp_path,))
    killed(ring)
    doctor.run(Namespace(json=False, timeout=60.0, clean=True))
    assert capsys.readouterr().out.startswith(f"removed {ring}, 0.")
    doctor.run(Namespace(json=False, timeout=60.0, clean=True))
    assert capsys.readouterr().out.startswith("nothing to remove")


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert remove_stale(tmp_path / "nowhere") == []
