"""Versions of an analysis: described once, checked by whoever loads them, laid over what is configured."""

import json

import pytest
import yaml
from transit_twins import MemoryLog

from cdi.errors import RunError
from cdi.main import main
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.log.codec import encoded
from inference_insitu.transit.log.records import Move, Said
from inference_insitu.transit.log.stream_log import MOVES, Topic
from inference_insitu.transit.migration.request import take_over
from inference_insitu.transit.operators.versions import Version, Versions, file_sha256


@pytest.fixture
def versions(tmp_path):
    return Versions(tmp_path / "versions")


def test_options_are_laid_over_those_of_the_configuration_mapping_by_mapping(versions):
    version = Version("a/b", 3, {"options": {"model": "new"}})
    path = versions.write(version)
    assert path.name == "a%2Fb-3.json"
    found = versions.read("a/b", 3)
    assert found == version
    assert found.over({"plugin": "defects", "options": {"model": "old", "seed": 4}}) == {
        "plugin": "defects",
        "options": {"model": "new", "seed": 4},
    }


def test_numbers_are_not_given_twice(versions):
    assert versions.next_number("a") == 1
    for name, number in (("a", 1), ("a", 4), ("b", 9), ("a-7", 30)):
        versions.write(Version(name, number, {"x": 1}))
    (versions.folder / "a-50.verdict.json").write_text("{}")
    assert versions.next_number("a") == 5
    with pytest.raises(ValueError, match="must not exist yet"):
        versions.write(Version("a", 4, {"x": 2}))


def test_weights_that_changed_or_went_are_refused(versions, tmp_path):
    weights = tmp_path / "w"
    weights.write_text("one")
    version = Version("a", 1, {"model": str(weights)}, {str(weights): file_sha256(weights)})
    assert version.over({}) == {"model": str(weights)}
    weights.write_text("two")
    with pytest.raises(ValueError, match=r"must be of SHA-256 [0-9a-f]{16}…, got .* it was changed"):
        version.over({})
    weights.unlink()
    with pytest.raises(ValueError, match="must be a file that can be read"):
        version.over({})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "must be the description of a version"),
        ("[" * 100_000, "must be the description of a version"),
        ("[]", "hold an object, got 'list'"),
        ('{"analysis":"a","number":2,"options":{"x":1}}', "must be of version 1 of a, got 2 of a"),
        ('{"analysis":"b","number":1,"options":{"x":1}}', "must be of version 1 of a, got 1 of b"),
        ('{"analysis":"a","number":1,"options":{}}', "options must change something"),
        ('{"analysis":"a","number":0,"options":{"x":1}}', r"number must lie in \[1, "),
        ('{"analysis":"a","number":1,"options":{"x":1},"files":{"w":"zz"}}', "be a SHA-256 in hexadecimal"),
        ('{"analysis":"a","number":1,"options":{"x":1},"more":1}', "unknown key 'more'"),
    ],
)
def test_a_description_that_is_none_is_refused(versions, content, why):
    versions.folder.mkdir()
    versions.path("a", 1).write_text(content)
    with pytest.raises(ValueError, match=why):
        versions.read("a", 1)


@pytest.fixture
def run(tmp_path, monkeypatch):
    coupling = {"streams": {"s": {"analysis": "moments"}}, "analyses": {"moments": {"plugin": "moments"}}}
    (tmp_path / "coupling.yaml").write_text(yaml.safe_dump(coupling))
    job = TransitJob("run", str(tmp_path / "coupling.yaml"), str(tmp_path / "transit"))
    job.write()
    log = MemoryLog()
    monkeypatch.setattr(TransitJob, "open_log", lambda job, patience_s=None: log)
    return log


def test_a_version_is_asked_for_only_where_it_could_be_had(run, tmp_path):
    with pytest.raises(ValueError, match="must be a run with a log, got none"):
        take_over(tmp_path / "elsewhere", "moments", 0, timeout_s=1)
    with pytest.raises(ValueError, match="did you mean 'moments'"):
        take_over(tmp_path, "moment", 0, timeout_s=1)
    with pytest.raises(ValueError, match="version 1 of moments must be described in"):
        take_over(tmp_path, "moments", 1, timeout_s=1)
    with pytest.raises(RunError, match="the request is refused: version 0 of moments answers already"):
        take_over(tmp_path, "moments", 0, timeout_s=1)
    assert [json.loads(one.header)["said"] for one in run.read(Topic("run", MOVES), after=0, count=9)] == ["request"]


def test_a_takeover_that_does_not_end_or_is_aborted_is_told(run, tmp_path):
    Versions(tmp_path / "transit" / "versions").write(Version("moments", 1, {"x": 1}))
    run.append(Topic("run", MOVES), encoded(Move("run", Said.JOINED, worker=0, step=1)))
    with pytest.raises(RunError, match="takeover by version 1 of moments has not ended within"):
        take_over(tmp_path, "moments", 1, timeout_s=0.01)
    said = []

    def say(line):
        said.append(line)
        run.append(Topic("run", MOVES), encoded(Move("run", Said.ABORT, id=4, worker=0, why="no")))

    run.append(Topic("run", MOVES), encoded(Move("run", Said.ABORT, id=2, worker=0, why="no")))
    with pytest.raises(RunError, match="the takeover by version 1 of moments is aborted: no"):
        take_over(tmp_path, "moments", 1, timeout_s=5, say=say)
    assert said == ["ready: 0 of 1 workers"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["take-over", "FOLDER", "moments"], "must be given a folder, an analysis and a number"),
        (["take-over", "FOLDER", "moments", "-1"], "must be given a folder, an analysis and a number"),
        (["take-over", "FOLDER", "moments", "1"], "version 1 of moments must be described in"),
        (["learn", "FOLDER"], "frozen must be the path of a data set, got ''"),
        (["learn", "FOLDER", "frozn=x"], "did you mean 'frozen'?"),
        (["learn", "FOLDER", "frozen=x", "--once"], "--once is no option of cdi insitu learn"),
    ],
)
def test_a_command_that_cannot_be_followed_says_so_in_one_line(run, tmp_path, capsys, words, why):
    assert main(["insitu", *(str(tmp_path) if word == "FOLDER" else word for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line
