"""Who simulates and who infers, for any numbers of ranks and nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_insitu.coupling_config import PlacementConfig
from inference_insitu.placement.roles import assign


def test_the_last_ranks_of_every_node_are_given_up():
    roles = assign([0, 0, 0, 3, 3, 3], PlacementConfig(kind="cores", ranks=1))
    assert roles.keepers == (2, 5)
    assert roles.served == ((0, 1), (3, 4))


def test_uneven_numbers_are_shared_as_evenly_as_they_go():
    roles = assign([0] * 8, PlacementConfig(kind="cores", ranks=3))
    assert roles.keepers == (5, 6, 7)
    assert roles.served == ((0,), (1, 2), (3, 4))


def test_nodes_gives_up_ranks_of_the_job():
    roles = assign([0, 0, 2, 2, 4, 4], PlacementConfig(kind="nodes", ranks=2))
    assert roles.keepers == (4, 5)
    assert roles.served == ((0, 1), (2, 3))


def test_process_gives_up_nobody():
    roles = assign([0, 0, 2], PlacementConfig(kind="process"))
    assert all(map(roles.simulates, range(3)))
    assert roles.served == ((0, 1), (2,))


def test_somebody_must_be_left_to_simulate():
    with pytest.raises(ValueError, match="must leave a rank to simulate, got 1 of the 1 ranks of the node of rank 2"):
        assign([0, 0, 2], PlacementConfig(kind="cores", ranks=1))
    with pytest.raises(ValueError, match="got 3 of the 3 ranks of the job"):
        assign([0, 0, 0], PlacementConfig(kind="nodes", ranks=3))


@given(
    sizes=st.lists(st.integers(2, 9), min_size=1, max_size=5),
    ranks=st.integers(1, 4),
    kind=st.sampled_from(["cores", "nodes", "process"]),
)
def test_every_simulation_rank_is_served_once(sizes, ranks, kind):
    nodes = [node for node, size in enumerate(sizes) for _ in range(size)]
    try:
        roles = assign(nodes, PlacementConfig(kind=kind, ranks=ranks))
    except ValueError:
        assert min(sizes) <= ranks or len(nodes) <= ranks
        return
    served = sorted(rank for share in roles.served for rank in share)
    assert served == [rank for rank in range(len(nodes)) if roles.simulates(rank)]
    assert len(roles.keepers) == len(set(roles.keepers)) == len(roles.served)
    if kind == "cores":
        assert all(nodes[keeper] == nodes[rank] for keeper, share in zip(roles.keepers, roles.served, strict=True)
                   for rank in share)  # fmt: skip
