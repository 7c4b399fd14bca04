"""Schedules and settings of a phase retrieval: what reads, and each line for what does not."""

from pathlib import Path
from typing import Any

import pytest

from cdi.config import read_config, write_config
from cdi.retrieval.config import CoherenceFit, RetrievalConfig, ShrinkWrap
from cdi.retrieval.schedule import Stage, parse_schedule


def test_a_schedule_reads_in_order_and_repeats() -> None:
    assert parse_schedule("HIO 100, 2x(RAAR 50, ER 10), ER 20") == (
        Stage("HIO", 100), Stage("RAAR", 50), Stage("ER", 10), Stage("RAAR", 50), Stage("ER", 10), Stage("ER", 20),
    )  # fmt: skip


def test_repeats_nest() -> None:
    assert parse_schedule("2x(HIO 3, 2x(ER 1))") == 2 * (Stage("HIO", 3), Stage("ER", 1), Stage("ER", 1))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("HIO", "schedule must read like"),
        ("HIO 10, ", "schedule must read like"),
        ("HIO -3", "schedule must read like"),
        ("2x(HIO 10", "schedule must read like"),
        ("HOI 10", "schedule must name algorithms among ER, HIO, RAAR, SF, got 'HOI'"),
        ("ER 0", "schedule must have 1 to 100000 iterations, got 0"),
        ("ER 200000", "schedule must have 1 to 100000 iterations, got 200000"),
        ("999999x(ER 1)", "schedule must have 1 to 100000 iterations"),
    ],
)
def test_a_bad_schedule_is_one_line(text: str, line: str) -> None:
    with pytest.raises(ValueError, match=line.replace("(", r"\(")):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("cls", "values", "line"),
    [
        (RetrievalConfig, {"schedule": "NO 3"}, "schedule must name"),
        (RetrievalConfig, {"hio_beta": 0.0}, "hio_beta must lie in"),
        (RetrievalConfig, {"raar_beta": 1.1}, "raar_beta must lie in"),
        (RetrievalConfig, {"starts": 0}, "starts must lie in"),
        (RetrievalConfig, {"starts": 3, "best": 4}, "best must lie between 1 and starts"),
        (RetrievalConfig, {"free_fraction": 0.0}, "free_fraction must lie in"),
        (RetrievalConfig, {"join": "sum"}, "join must be one of mean, union, got 'sum'"),
        (RetrievalConfig, {"precision": "half"}, "precision must be one of single, double, got 'half'"),
        (ShrinkWrap, {"interval": -1}, "interval must be 0 or more"),
        (ShrinkWrap, {"threshold": 1.0}, "threshold must lie between 0 and 1"),
        (ShrinkWrap, {"autocorrelation": 0.0}, "autocorrelation must lie between 0 and 1"),
        (ShrinkWrap, {"sigma_start": 0.0}, "sigma_start must lie between 0 and 100"),
        (ShrinkWrap, {"sigma_end": float("nan")}, "sigma_end must lie between 0 and 100"),
        (ShrinkWrap, {"first_scale": 0.4}, "first_scale must lie in"),
        (CoherenceFit, {"kernel": "box"}, "kernel must be one of none, richardson-lucy, gaussian, got 'box'"),
        (CoherenceFit, {"interval": 0}, "interval must be 1 or more"),
        (CoherenceFit, {"updates": 0}, "updates must be 1 or more"),
        (CoherenceFit, {"reach": 0}, "reach must be 1 or more"),
        (CoherenceFit, {"first_iteration": -1}, "first_iteration must be 0 or more"),
        (CoherenceFit, {"sigma": 0.0}, "sigma must be positive"),
    ],
)
def test_a_value_out_of_range_is_one_line(cls: type[Any], values: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        cls(**values)


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = RetrievalConfig(starts=7, best=2, coherence=CoherenceFit("gaussian"), precision="double")
    write_config(config, tmp_path / "config.yaml")
    assert read_config(RetrievalConfig, tmp_path / "config.yaml") == config
    with pytest.raises(ValueError, match=r"shrink_wrap\.treshold"):
        read_config(RetrievalConfig, overrides=["shrink_wrap.treshold=0.2"])


def test_every_start_has_the_iterations_of_its_stages() -> None:
    config = RetrievalConfig(schedule="3x(HIO 5, ER 2)")
    assert config.iterations == 21
    assert config.beta("HIO") == config.hio_beta
    assert config.beta("ER") == 0
