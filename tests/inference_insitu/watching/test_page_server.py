"""The page answers this machine's own browser with the token, and nobody and nothing else."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import TOKEN, Served, served
from synthetic_run import SyntheticRun

from inference_insitu.cli import insitu
from inference_insitu.watching.page.guard import LOOPBACK, refusal

pytest.importorskip("aiohttp", reason="the view in a browser needs aiohttp")

SERVE = (
    "import sys; from pathlib import Path; from inference_insitu.watching.page.server import serve; "
    "serve(Path(sys.argv[1]))"
)
PATHS = ("", "view.js", "state", "history?stream=pattern", "result?stream=pattern")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    run = SyntheticRun(tmp_path_factory.mktemp("page") / "run", steps=60).write()
    with served(run.folder) as one:
        yield one


@pytest.mark.parametrize("path", PATHS)
def test_with_the_token_it_answers_and_forbids_all_else_to_the_browser(page: Served, path: str) -> None:
    status, headers, _ = page.ask(path)
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "%00", "..", "../" + TOKEN])
def test_without_the_token_nothing_is_told(page: Served, path: str, token: str) -> None:
    status, headers, body = page.ask(path, token=token)
    assert status == 403
    assert b"token" in body
    assert TOKEN.encode() not in body
    assert "Content-Security-Policy" in headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "", "[::2]:1"]
)
def test_a_foreign_name_for_this_machine_is_refused(page: Served, host: str) -> None:
    """DNS rebinding: the attacker's name resolves to 127.0.0.1, and the browser sends it along."""
    status, _, body = page.ask("state", Host=host)
    assert (status, b"one of the names" in body) == (403, True)


def test_the_near_end_of_a_tunnel_may_have_another_port() -> None:
    for name in LOOPBACK:
        for host in (name, f"{name}:9"):
            assert refusal("GET", f"/{TOKEN}/", {"Host": host}, TOKEN) is None


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Origin": "http://evil.example"}, b"from the page itself"),
        ({"Origin": "null"}, b"from the page itself"),
        ({"Origin": "http://127.0.0.1"}, b"from the page itself"),
        ({"Content_Type": "text/plain"}, b"must be JSON"),
        ({"Content_Type": "application/x-www-form-urlencoded"}, b"must be JSON"),
    ],
)
def test_a_command_from_another_page_is_refused(page: Served, headers: dict[str, str], says: bytes) -> None:
    status, _, body = page.ask("propose", method="POST", body={"name": "stop"}, **headers)
    assert status == 403
    assert says in body


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b'{"value": 1}', b"\xff", b"[" * 2000])
def test_a_command_that_is_none_is_a_line(page: Served, body: bytes) -> None:
    status, _, text = page.ask("propose", method="POST", body=body)
    assert status == 400
    assert b"a command must be an object" in text


def test_a_body_that_is_too_long_and_other_paths_and_methods_are_refused(page: Served) -> None:
    assert page.ask("propose", method="POST", body={"name": "x" * 10_000})[0] == 413
    for path in ("nothing", "../../etc/passwd", "%2e%2e/server.py", "static/view.js", "server.py"):
        assert page.ask(path)[0] == 404
    assert page.ask("state", method="DELETE")[0] == 405
    for step in ("x", "-1", "1e3", "9" * 40):
        assert page.ask(f"result?stream=pattern&step={step}")[0] == 400


def test_an_ended_run_takes_no_command_and_says_why(page: Served) -> None:
    status, _, body = page.ask("propose", method="POST", body={"name": "stop"})
    assert status == 409
    assert "said nothing of its rings" in json.loads(body)["refused"]


def test_the_state_is_that_of_the_files(page: Served) -> None:
    state = page.told("state")
    assert state["condition"] == {"kind": "ended", "text": "ended, the books balance"}
    assert sum(stream["published"] for stream in state["streams"]) == 480
    assert state["steering"]["counts"] == {"proposed": 1, "applied": 1, "vetoed": 1}
    assert {fate["name"] for fate in state["fates"]} >= {"sampled", "undelivered"}
    history = page.told("history?stream=pattern")
    assert history["steps"] == sorted(history["steps"])
    assert {"confidence", "dislocations"} == set(history["series"])
    assert page.told("history?stream=nothing")["steps"] == []
    result = page.told("result?stream=pattern")
    assert (result["result"], result["problems"]) == (None, [])


def test_a_hostile_run_is_told_as_text_and_numbers_that_are_none_as_null(tmp_path: Path, hostile: str) -> None:
    run = SyntheticRun(tmp_path / "run", streams=(hostile,), steps=40).write(finished=False)
    (run.folder / "steering.jsonl").write_text('{"event": "applied", "step": NaN, "value": Infinity, "name": ["x"]}\n')
    with (run.folder / "results-0.0.jsonl").open("a") as file:
        file.write(
            '{"stream": "s", "step": 1, "values": {"a": NaN, "b": 1e999, "c": 2}}\n{"stream": "s", "step": Infinity}\n'
        )
    (run.folder / "results-0.0.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\xff" * 500)
    (run.folder / "worker-0.json").write_text('{"regions": ["/etc/passwd"]')
    with served(run.folder) as page:
        state = page.told("state")
        assert state["streams"][0]["name"].startswith('<script>alert("x")</script>')
        assert not {"\x1b", "\x07", "\n"} & set(state["streams"][0]["name"])
        assert state["steering"]["rows"][0]["value"] is None
        assert "does not read" in state["steering"]["closed"]
        assert page.told("history?stream=s")["series"] == {"c": [[2.0, 2.0, 2.0]]}
        assert "results-0.0.h5 does not read" in page.told("result?stream=s")["problems"][0]


def test_the_view_follows_a_run_and_another_one_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_insitu.watching.page.followed_run.REFRESH_S", 0.0)
    folder = tmp_path / "run"
    with served(folder) as page:
        assert page.told("state")["condition"]["kind"] == "waiting"
        run = SyntheticRun(folder, steps=20).write(finished=False)
        state = page.told("state")
        assert state["condition"]["kind"] == "running"
        assert sum(stream["published"] for stream in state["streams"]) == 160
        run.write_books(run.books() | {"inferred": 1})
        state = page.told("state")
        assert state["condition"]["kind"] == "unbalanced"
        assert any("inferred by the books" in line for line in state["problems"])
        before = state["generation"]
        for path in folder.iterdir():
            path.unlink()
        SyntheticRun(folder, ranks=1, steps=10).write(finished=False)
        state = page.told("state")
        assert state["generation"] > before
        assert sum(stream["published"] for stream in state["streams"]) == 20
        assert len(page.told("history?stream=pattern")["steps"]) <= 10


def test_the_command_prints_its_address_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "run", steps=10).write()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(run.folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        port, token = address.removeprefix("http://127.0.0.1:").strip("/").split("/")
        assert len(token) > 40
        assert Served(int(port)).ask("state", token=token)[0] == 200
        with pytest.raises(ValueError, match=f"got {port}, which is taken"):
            insitu.run(arguments(run.folder, port=int(port)))
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Traceback" not in told
        assert f"cdi insitu watch {run.folder}" in told
    finally:
        process.kill()


def test_without_its_package_the_terminal_view_is_shown_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = SyntheticRun(tmp_path / "run", steps=10).write()
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    insitu.run(arguments(run.folder))
    told = capsys.readouterr()
    assert "ended, the books balance" in told.out
    assert "crystal-defects-insitu[view]" in told.err
    assert "here is the view for the terminal" in told.err


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="folder must be the folder of a run, got the file"):
        insitu.run(arguments(tmp_path / "file"))
    for port in (-1, 70_000):
        with pytest.raises(ValueError, match=r"port must lie in \[0, 65535\]"):
            insitu.run(arguments(tmp_path, port=port))


@pytest.mark.slow
def test_a_million_rows_are_read_in_bounded_memory(tmp_path: Path) -> None:
    """In a process of its own: what the page holds is counted, not what this one held before."""
    folder = tmp_path / "run"
    SyntheticRun(folder, ranks=1, steps=10).write(finished=False)
    header, row = (folder / "ledger-0.csv").read_text().splitlines()[:2]
    tail = row.split(",", 3)[3]
    answer = '{{"stream": "pattern", "rank": 0, "step": {0}, "analysis": "a", "values": {{"x": {0}.5, "y": 1}}}}\n'
    with (folder / "ledger-0.csv").open("w") as file:
        file.write(header + "\n")
        file.writelines(f"pattern,0,{step},{tail}\n" for step in range(1_000_000))
    with (folder / "results-0.0.jsonl").open("w") as file:
        file.writelines(answer.format(step) for step in range(1_000_000))
    code = (
        "import sys, json, resource; from pathlib import Path\n"
        "from inference_insitu.watching.page import followed_run, snapshot\n"
        "followed_run.REFRESH_S = 0.0\n"
        "run = followed_run.FollowedRun(Path(sys.argv[1]))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for _ in range(9): run.refresh()\n"
        "state = snapshot.snapshot(run)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "print(json.dumps([state['streams'][0]['published'], state['history']['pattern'],"
        " len(run.history.streams['pattern'].steps), grown / 1024]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=250)
    published, answers, steps, grown_mb = json.loads(done.stdout)
    assert (published, answers) == (1_000_000, 1_000_000)
    assert steps <= 1025
    assert grown_mb < 250


def arguments(folder: Path, port: int | None = None):
    from cdi.main import _parser

    words = ["insitu", *([] if port is None else [f"--port={port}"]), "view", str(folder)]
    return _parser({"insitu": insitu}).parse_args(words)["insitu"]
