"""Habits of the command line: help that teaches by examples, completion, Ctrl-C, silence and plain text when piped."""

import os
import pty
import re
import shlex
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser

from cdi.command import Command
from cdi.completion import SHELLS
from cdi.main import command_helps, console_parser, main
from data.generation import progress_bar, shards_of
from data.recipe import Recipe

ROOT = Path(__file__).parents[1]
HELPS = command_helps()
RESUMED = ("generate", "train", "tiers", "baselines", "relaxed-set")


def examples(name: str) -> list[str]:
    """The command lines at the end of a command's help, continued ones joined, their comments left out."""
    _, _, ending = HELPS[name].partition("\nexamples:\n")
    lines = re.sub(r"\\\n\s*", " ", ending).splitlines()
    return [line.split("  #")[0].split(" > ")[0].strip() for line in lines if line.strip()]


@pytest.fixture(scope="module")
def parser() -> ArgumentParser:
    return console_parser()


@pytest.mark.parametrize("name", HELPS)
def test_help_ends_with_examples_that_parse(name: str, parser: ArgumentParser) -> None:
    """As they stand: a renamed option would make one a lie."""
    found = [part for line in examples(name) for part in line.split(" && ")]
    own = [shlex.split(line) for line in found if re.search(rf"\bcdi {name}\b", line)]
    assert len(own) >= 2, HELPS[name][-300:]
    for words in own:
        parser.parse_args(words[words.index("cdi") + 1 :])
        for word in words:
            if word.startswith("examples/"):
                assert (ROOT / word).is_file(), word


def shown_commands() -> dict[str, Path]:
    """Command lines of ``cdi`` in the fenced blocks of the documentation and in the heads of the examples, by where."""
    found: dict[str, Path] = {}
    for page in (*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"):
        for block in re.findall(r"```(?:sh|bash)\n(.*?)```", page.read_text(), re.S):
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                command = re.split(r"\s#|\s>\s|\s&", line)[0]
                if re.search(r"\bcdi [a-z]", command) and "…" not in command and "|" not in command:
                    found[command.strip()] = page
    return found


def test_commands_in_the_documentation_parse(parser: ArgumentParser) -> None:
    """As they stand: a flag that is gone, or a file that argparse takes for one, would send a newcomer away."""
    shown = shown_commands()
    assert len(shown) > 40
    for command, page in shown.items():
        words = shlex.split(command)
        words = words[next(n for n, word in enumerate(words) if word.split("/")[-1] == "cdi") + 1 :]
        try:
            parser.parse_args(words)
        except Exception as error:
            raise AssertionError(f"{page.relative_to(ROOT)}: {command}: {error}") from error
        for word in words:
            if word.startswith("examples/"):
                assert (ROOT / word).is_file(), (page, word)


def test_completion_offers_commands_and_their_options(tmp_path: Path) -> None:
    """In a real bash, by the line that the docs give."""
    script = tmp_path / "completion.sh"
    ask = [sys.executable, "-m", "cdi", "--completion", "bash"]
    ran = subprocess.run(ask, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    script.write_text(ran.stdout)
    complete = (
        'source "$0"; COMP_WORDS=(cdi "$@"); COMP_CWORD=$#; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE};'
        ' _shtab_cdi 2>/dev/null; echo "${COMPREPLY[@]}"'
    )
    for words, expected in ((["pred"], "predict"), (["retrieve", "--sha"], "--shape")):
        offered = subprocess.run(["bash", "-c", complete, script, *words], capture_output=True, text=True, timeout=60)
        assert expected in offered.stdout.split(), (words, offered)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--completion", shell]) == 0
    assert "relaxed-set" in capsys.readouterr().out


def test_an_unknown_shell_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--completion", "fish"]) == 2
    assert "choose from" in capsys.readouterr().err


def interrupted(arguments: Any) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Entry:
        name = "stop"

        @staticmethod
        def load() -> Command:
            return Command("stop", "be interrupted", lambda parser: None, interrupted, "the same command goes on")

    monkeypatch.setattr("cdi.main.entry_points", lambda group: [Entry])
    assert main(["stop"]) == 130
    assert capsys.readouterr().err.strip() == "cdi: interrupted; the same command goes on"


@pytest.mark.parametrize("name", RESUMED)
def test_what_goes_on_says_so(name: str) -> None:
    from importlib.metadata import entry_points

    (entry,) = (entry for entry in entry_points(group="cdi.commands") if entry.name == name)
    assert "the same command goes on" in entry.load().interrupted


def on_a_terminal(arguments: list[str], **environment: str) -> str:
    """What a command writes where stdout and stderr are a terminal."""
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 100))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    with subprocess.Popen(arguments, stdout=writer, stderr=writer, env=environment, cwd=ROOT) as child:
        os.close(writer)
        parts: list[bytes] = []
        try:
            while part := os.read(reader, 1 << 16):
                parts.append(part)
        except OSError:  # the other side is closed: how a terminal ends on Linux
            pass
        assert child.wait(120) == 0, b"".join(parts)
    os.close(reader)
    return b"".join(parts).decode(errors="replace")


BAR = """
from data.generation import progress_bar, shards_of
from data.recipe import Recipe
from pathlib import Path
recipe = Recipe("small", samples=4)
with progress_bar(recipe, shards_of(recipe, Path(".")), shown=True) as bar:
    for _ in range(4):
        bar.update(1)
"""


def test_a_progress_bar_is_for_terminals_and_has_rate_and_time_left() -> None:
    """Count, rate and time left on a terminal; nothing at all elsewhere."""
    shown = on_a_terminal([sys.executable, "-c", BAR])
    assert re.search(r"4/4 \[\d\d:\d\d<\d\d:\d\d,.*crystal/s\]", shown), shown
    piped = subprocess.run([sys.executable, "-c", BAR], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert (piped.returncode, piped.stdout, piped.stderr) == (0, "", "")


def test_a_bar_that_is_not_wanted_is_not_shown() -> None:
    recipe = Recipe("small", samples=4)
    with progress_bar(recipe, shards_of(recipe, Path()), shown=False) as bar:
        assert bar.disable


@pytest.mark.parametrize("speak", [["--help"], ["generate", "--help"], ["dance"]], ids=" ".join)
def test_piped_output_is_plain_text(speak: list[str]) -> None:
    ran = subprocess.run([sys.executable, "-m", "cdi", *speak], capture_output=True, text=True, timeout=120)
    assert "\x1b" not in ran.stdout + ran.stderr


COLOURED = "from inference_insitu.watching.live import _console; _console().print('[bold red]late[/]')"


def test_no_color_is_obeyed_on_a_terminal() -> None:
    """The terminal's view has colours, and none where ``NO_COLOR`` is set."""
    code = [sys.executable, "-c", COLOURED]
    assert "\x1b[1;31m" in on_a_terminal(code, NO_COLOR="")
    assert "31m" not in on_a_terminal(code, NO_COLOR="1")
