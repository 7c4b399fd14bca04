"""Configuration: strict reading, one-line errors, and a resolved copy that reads back."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cdi.config import read_config, read_object, to_dict, write_config


@dataclass(frozen=True)
class Inner:
    width: int = 3
    limits: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    path: Path | None = None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("name: first\ninner:\n  width: 7\n")
    return path


def test_overrides_win_over_the_file(file: Path) -> None:
    config = read_config(Outer, file, ["inner.limits=[2, 3.5]", "name=second"])
    assert config == Outer("second", Inner(7, (2.0, 3.5)))


def test_the_resolved_configuration_reads_back(tmp_path: Path, file: Path) -> None:
    config = read_config(Outer, file, ["path=/somewhere"])
    write_config(config, tmp_path / "resolved.yaml")
    assert read_config(Outer, tmp_path / "resolved.yaml") == config
    assert read_object(Outer, to_dict(config), origin="test") == config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["nam=x"], "unknown key 'nam'; did you mean 'name'"),
        (["inner.wdth=2"], "unknown key 'inner.wdth'; did you mean 'inner.width'"),
        (["inner.zzzz=2"], "unknown key 'inner.zzzz'; known keys: width, limits"),
        (["inner.width=many"], "width"),
        (["inner.width=0"], "width must be at least 1, got 0"),
        (["name"], "an override must read key=value, got 'name'"),
        (["name.deeper=1"], "'name' is a value"),
    ],
)
def test_bad_values_are_one_line(file: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_config(Outer, file, overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken.yaml must (be a YAML file|hold keys and values)") as caught:
        read_config(Outer, path)
    assert "\n" not in str(caught.value)


def test_a_missing_required_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    with pytest.raises(ValueError, match="name"):
        read_config(Outer, path)


def test_a_nested_configuration_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    """A name in place of a mapping is a file beside the configuration; overrides reach into it, keys are checked."""
    outer = tmp_path / "outer.yaml"
    (tmp_path / "inner.yaml").write_text("width: 4\n")
    outer.write_text("name: first\ninner: inner.yaml\n")
    assert read_config(Outer, outer) == Outer("first", Inner(4))
    assert read_config(Outer, outer, ["inner.width=5"]) == Outer("first", Inner(5))
    (tmp_path / "inner.yaml").write_text("widht: 4\n")
    with pytest.raises(ValueError, match=r"unknown key 'inner\.widht'; did you mean 'inner\.width'"):
        read_config(Outer, outer)
    outer.write_text("name: first\ninner: missing.yaml\n")
    with pytest.raises(OSError, match=r"missing\.yaml"):
        read_config(Outer, outer)
