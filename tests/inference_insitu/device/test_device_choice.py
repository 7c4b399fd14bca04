import itertools

import pytest

from inference_insitu.device.choice import NEEDS, Capabilities, Choice, DeviceConfig, announce, choose

NAMES = ("cuda", "mpi_cuda_aware", "ipc", "host_register", "consumer_on_gpu", "relay_reads_device")
EVERYTHING = dict.fromkeys(NAMES, True)


@pytest.mark.parametrize(
    ("placement", "lacking", "path"),
    [
        ("nodes", (), "mpi"),
        ("nodes", ("mpi_cuda_aware",), "pinned"),
        ("nodes", ("relay_reads_device",), "pinned"),
        ("nodes", ("mpi_cuda_aware", "host_register"), "plain"),
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
    notes = {"mpi_cuda_aware": "the probe: died of signal 11"}
    found = Capabilities(**EVERYTHING | {"mpi_cuda_aware": False}, placement="nodes", notes=notes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="path must be") as caught:
        choose(found, "mpi")
    assert str(caught.value) == (
        "path must be possible here (pinned, plain), got 'mpi': "
        "MPI was not proved to read device memory (the probe: died of signal 11)"
    )
    with pytest.raises(ValueError, match="got 'ipc': the inference is not on this node"):
        choose(found, "ipc")
    with pytest.raises(ValueError, match="got 'teleport': there is no such path"):
        choose(found, "teleport")


def test_a_choice_is_said_once() -> None:
    said: list[str] = []
    choice = Choice("pinned", "a reason of this test")
    for _ in range(3):
        announce(choice, said.append)
    assert said == ["arrays on the device: pinned (a reason of this test)"]


def test_the_configuration_is_strict() -> None:
    assert DeviceConfig().path == "auto"
    with pytest.raises(ValueError, match="path must be one of auto, mpi, ipc, pinned, plain, got 'gpu'"):
        DeviceConfig(path="gpu")  # type: ignore[arg-type]
