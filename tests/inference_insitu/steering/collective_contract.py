"""What every ``Collective`` must do; free of pytest, so that an MPI program can run it too."""

from inference_insitu.steering.collective import Collective


def check_collective(collective: Collective, rank: int, size: int, timeout_s: float = 60.0) -> None:
    """Maxima overlap and arrive in the order in which they were started; what is shared arrives byte by byte."""
    pending = [collective.start_max(value) for value in (0, rank, 2**62 + rank, size - rank)]
    payload = bytes(range(256))
    assert collective.share(payload if rank == size - 1 else bytes(256), size - 1, timeout_s) == payload
    assert [one.result(timeout_s) for one in pending] == [0, size - 1, 2**62 + size - 1, size]
    for root in range(size):
        assert collective.share(bytes([rank]) * 256, root, timeout_s) == bytes([root]) * 256
    last = collective.start_max(7)
    assert last.result(timeout_s) == 7
