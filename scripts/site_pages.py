"""What the site has beside the pages of ``docs/`` (hooks of mkdocs, named in ``mkdocs.yml``).

A page's relative links mean the same on the site as in the repository: what they name outside ``docs/`` comes along,
under ``repository/``. Made anew at each build: the commands with their own help, and tables of the benchmarks' records.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS, REPOSITORY = "docs", "repository"
RECORDS = ROOT / "benchmarks" / "records"
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add what the pages link to outside of ``docs/``, and the pages that are made."""
    waiting = [PurePosixPath(DOCS, file.src_uri) for file in files.documentation_pages()]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        for target in linked((ROOT / page).read_text(encoding="utf-8"), page):
            if target in seen or target.parts[0] == DOCS:
                continue
            seen.add(target)
            files.append(File.generated(config, site_name(target), abs_src_path=str(ROOT / target)))
            if target.suffix == ".md":
                waiting.append(target)
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    files.append(File.generated(config, "figures.md", content=figures_page(sorted(RECORDS.glob("*.jsonl")))))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point the links of a page to where their targets lie on the site."""
    here = repository_name(page.file.src_uri)

    def moved(found: re.Match[str]) -> str:
        target = resolved(found[2], here)
        if target is None:
            return found[0]
        start = PurePosixPath(page.file.src_uri).parent
        return found[1] + os.path.relpath(site_name(target), start) + found[3]

    return LINK.sub(moved, markdown)


def linked(text: str, page: PurePosixPath) -> Iterator[PurePosixPath]:
    """Files of the repository that ``page`` links to."""
    for found in LINK.finditer(text):
        target = resolved(found[2], page)
        if target is not None:
            yield target


def resolved(link: str, page: PurePosixPath) -> PurePosixPath | None:
    """The file that ``link`` on ``page`` names, from the repository's root; None for addresses and what is absent."""
    if re.match(r"[a-z]+:|/", link):
        return None
    target = PurePosixPath(os.path.normpath(page.parent / link))
    inside = target.parts[0] != ".." and (ROOT / target).is_file()
    return target if inside else None


def site_name(target: PurePosixPath) -> str:
    """Where a file of the repository lies on the site."""
    return str(target.relative_to(DOCS)) if target.parts[0] == DOCS else f"{REPOSITORY}/{target}"


def repository_name(name: str) -> PurePosixPath:
    """Where a page of the site lies in the repository."""
    path = PurePosixPath(name)
    return path.relative_to(REPOSITORY) if path.parts[0] == REPOSITORY else PurePosixPath(DOCS, path)


def commands_page() -> str:
    """Every command with the help that it prints."""
    from cdi.main import command_helps

    parts = ["# Commands", "", "As each prints them with `--help`."]
    for name, text in command_helps().items():
        parts += ["", f"## cdi {name}", "", "```text", text.rstrip(), "```"]
    return "\n".join(parts) + "\n"


def figures_page(records: list[Path]) -> str:
    """Tables of the benchmarks' records: the JSON lines that ``make bench`` keeps.

    Raises
    ------
    ValueError
        If a record does not read.
    """
    parts = [
        "# Figures", "",
        "Made from `benchmarks/records/`, the JSON lines that `make bench` keeps; each begins with the machine that it "
        "ran on. What else the README says was measured by the commands that stand beside the figures there.",
    ]  # fmt: skip
    for record in records:
        parts += ["", f"## {record.stem}", *_tables(_rows(record))]
    if not records:
        parts += ["", "No record is kept yet."]
    return "\n".join(parts) + "\n"


def _rows(record: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise ValueError(f"{record} must hold one JSON object a line, as benchmarks print them: {error}") from error


def _tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Neighbouring rows of the same keys as one table; the machine as a line of its own."""
    keys: list[str] = []
    for row in rows:
        if "machine" in row:
            told = {
                **row["machine"],
                **{key: value for key, value in row.items() if key not in ("machine", "benchmark")},
            }
            yield from ("", ", ".join(f"{key} {_cell(value)}" for key, value in told.items()) + ".")
            keys = []
            continue
        if list(row) != keys:
            keys = list(row)
            yield from ("", f"| {' | '.join(key.replace('_', ' ') for key in keys)} |", "|---" * len(keys) + "|")
        yield f"| {' | '.join(_cell(row[key]) for key in keys)} |"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | dict):
        return json.dumps(value).replace("|", "\\|")
    return str(value).replace("|", "\\|")
