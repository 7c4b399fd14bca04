"""The documentation as a site: links that mean the same there, pages that are made, a build without a broken link."""

import importlib.util
import subprocess
import sys
from pathlib import Path, PurePosixPath
from types import ModuleType, SimpleNamespace

import pytest

pytest.importorskip("mkdocs", reason="install the optional group 'site'")

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = script("site_pages")


@pytest.mark.parametrize(
    ("page", "link", "moved"),
    [
        ("coupling.md", "insitu.md", "insitu.md"),
        ("guides/attach.md", "../coupling.md", "../coupling.md"),
        ("index.md", "../README.md", "repository/README.md"),
        ("guides/attach.md", "../../examples/coupling/stencil.py", "../repository/examples/coupling/stencil.py"),
        ("repository/README.md", "docs/physics.md", "../physics.md"),
        ("repository/models/weights/README.md", "../../docs/experiments.md", "../../../experiments.md"),
        ("index.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("index.md", "../../outside.md", "../../outside.md"),
        ("index.md", "nowhere.md", "nowhere.md"),
    ],
)
def test_a_link_means_the_same_as_in_the_repository(page: str, link: str, moved: str) -> None:
    """With its anchor; addresses, and what is not there, stay for the strict build to judge."""
    on_page = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    told = PAGES.on_page_markdown(f"see [this]({link}#part) and ![that]({link})", on_page, None, None)
    assert told == f"see [this]({moved}#part) and ![that]({moved})"


def test_every_relative_link_of_the_docs_and_the_readme_has_a_target() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").rglob("*.md")]
    made = {"docs/figures.md", "docs/reference/commands.md"}
    for page in pages:
        here = PurePosixPath(page.relative_to(ROOT))
        for found in PAGES.LINK.finditer(page.read_text(encoding="utf-8")):
            if "://" in found[2] or found[2].startswith("mailto:"):
                continue
            target = (page.parent / found[2]).resolve()
            assert target.exists() or str(target.relative_to(ROOT)) in made, f"{here}: {found[2]}"


def test_records_of_benchmarks_become_tables(tmp_path: Path) -> None:
    """The machine in a line, neighbouring rows of the same keys in one table; a bar in a cell is no column."""
    record = tmp_path / "speed.jsonl"
    record.write_text(
        '{"benchmark": "speed", "machine": {"cpu": "EPYC", "cores": 2}, "seed": 0}\n'
        '{"route": "a|b", "per_second": 12.34567}\n{"route": "c", "per_second": 5.0}\n{"bytes": [1, 2]}\n'
    )
    page = PAGES.figures_page([record])
    assert "cpu EPYC, cores 2, seed 0." in page
    assert "| route | per second |\n|---|---|\n| a\\|b | 12.35 |\n| c | 5 |\n" in page
    assert "| bytes |\n|---|\n| [1, 2] |" in page


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    record = tmp_path / "speed.jsonl"
    record.write_text('{"benchmark": \n')
    with pytest.raises(ValueError, match="must hold one JSON object a line"):
        PAGES.figures_page([record])


def test_sentences_behind_a_colon_are_descriptions() -> None:
    """Of parameters alone; a shape or a type stays where numpy's style has it."""
    pytest.importorskip("griffe")
    parameters = "Parameters\n----------\nside : of the box in Å.\nmask : (x, y, z) bool\n    Measured.\n"
    text = f"A box.\n\n{parameters}\nNotes\n-----\na : b\n"
    told = script("house_docstrings").as_numpy_reads(text)
    assert "side\n    of the box in Å.\nmask : (x, y, z) bool\n    Measured.\n" in told
    assert told.endswith("Notes\n-----\na : b\n")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """No broken link, no broken anchor; nothing on its pages is loaded from another host."""
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "index.html").read_text()
    assert 'src="http' not in page
    assert "NetworkConfig" in (tmp_path / "reference" / "models.html").read_text()
