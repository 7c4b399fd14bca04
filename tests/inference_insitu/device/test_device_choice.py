import itertools

import pytest

from inference_insitu.device.choice import NEEDS, Capabilities, Choice, choose

NAMES = ("cuda", "ipc", "host_register", "consumer_on_gpu")
EVERYTHING = dict.fromkeys(NAMES, True)


@pytest.mark.parametrize(
    ("placement", "lacking", "path"),
    [
        ("nodes", (), "pinned"),
        ("nodes", ("host_register",), "plain"),
        ("cores", (), "ipc"),
        ("process", (), "ipc"),
        ("cores", ("ipc",), "pinned"),
        ("cores", ("consumer_on_gpu",), "pinned"),
        ("process", ("ipc", "host_register"), "plain"),
        ("job", (), "pinned"),
        ("job", ("host_register",), "plain"),
        ("nodes", ("cuda",), "plain"),
        ("cores", ("cuda",), "plain"),
    ],
)
def test_the_best_path_that_is_possible(placement: str, lacking: tuple[str, ...], path: str) -> None:
    found = Capabilities(**EVERYTHING | dict.fromkeys(lacking, False), placement=placement)  # type: ignore[arg-type]
    choice = choose(found)
    assert choice.path == path
    for better in list(NEEDS)[: list(NEEDS).index(path)]:
        assert f"not {better}: " in choice.why


def test_what_was_not_tried_is_not_possible() -> None:
    assert choose(Capabilities(cuda=True, placement="nodes")).path == "plain"


def test_every_combination_has_a_path_and_forcing_it_gives_the_same() -> None:
    for values in itertools.product((False, True), repeat=len(EVERYTHING)):
        for placement in ("cores", "nodes", "process", "job"):
            found = Capabilities(**dict(zip(EVERYTHING, values, strict=True)), placement=placement)  # type: ignore[arg-type]
            path = choose(found).path
            assert choose(found, path) == Choice(path, "as configured")
            assert choose(found, "plain").path == "plain"


def test_a_forced_path_that_is_not_possible_says_why_and_what_is() -> None:
    notes = {"ipc": "the probe: died of signal 11"}
    found = Capabilities(**EVERYTHING | {"ipc": False}, placement="cores", notes=notes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="path must be") as caught:
        choose(found, "ipc")
    assert str(caught.value) == (
        "path must be possible here (pinned, plain), got 'ipc': "
        "another process was not proved to map device memory (the probe: died of signal 11)"
    )
    elsewhere = Capabilities(**EVERYTHING, placement="nodes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 'ipc': the inference is not on this node"):
        choose(elsewhere, "ipc")
    with pytest.raises(ValueError, match="got 'teleport': there is no such path"):
        choose(found, "teleport")
