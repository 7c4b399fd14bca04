"""The configuration is checked before the first step, and says what is nearest."""

from pathlib import Path

import pytest

from cdi.config import read_object
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.frame import Variable
from inference_insitu.placement.plan import ring_plan
from inference_insitu.ring.layout import Kind

STREAM = {"analysis": "watch"}
ANALYSES = {"watch": {"plugin": "moments"}}
PATTERN = Variable("float64", (8, 6, 4))


def config(stream=None, **more):
    values = {"streams": {"pattern": STREAM | (stream or {})}, "analyses": ANALYSES} | more
    return read_object(CouplingConfig, values, origin="test")


def plan(stream=None, variable=PATTERN, is_root=True):
    return ring_plan(config(stream), {"pattern": variable}, is_root=is_root, spill_file=Path("spill"))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"streams": {"pattern": {"analysis": "wach"}}}, "got 'wach'; did you mean 'watch'"),
        (
            {"streams": {"pattern": STREAM | {"polcy": {}}}},
            "'streams.pattern.polcy'; did you mean 'streams.pattern.policy'",
        ),
        ({"streams": {"pattern": STREAM | {"policy": {"kind": "newest"}}}}, "kind"),
        (
            {"streams": {"pattern": STREAM | {"policy": {"knd": "latest"}}}},
            "did you mean 'streams.pattern.policy.kind'",
        ),
        ({"streams": {"pattern": STREAM | {"operators": [{"kind": "bni"}]}}}, "did you mean 'bin'"),
        ({"placment": {}}, "did you mean 'placement'"),
        ({"placement": {"kind": "core"}}, "kind"),
        ({"on_inference_failure": {"action": "retry"}}, "action"),
        ({"analyses": {"watch": {"plugin": "moments", "bacth": {}}}}, "did you mean 'analyses.watch.batch'"),
        ({"streams": {}}, "streams must name at least one variable"),
        ({"steering": {"rules": [{"when": "count >", "then": "stop"}]}}, "when"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(values, says):
    with pytest.raises(ValueError, match="test: ") as caught:
        read_object(CouplingConfig, {"streams": {"pattern": STREAM}, "analyses": ANALYSES} | values, origin="test")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_variable_that_the_simulation_does_not_declare_names_the_nearest():
    with pytest.raises(ValueError, match=r"streams\.pattern must be a variable .* did you mean 'patern'"):
        ring_plan(config(), {"patern": PATTERN}, is_root=True, spill_file=Path("spill"))


def test_slots_are_bounded_by_steps_and_by_bytes():
    assert plan({"steps": 5}).layout.count == 5
    assert plan({"steps": 5, "max_bytes": 2 * PATTERN.bytes}).layout.count == 2
    assert plan({"steps": 5, "max_bytes": 1}).layout.count == 1


def test_policies_bring_slots_of_their_own():
    degraded = plan({"policy": {"kind": "degrade", "factor": 2}}).layout
    assert [(group.kind, group.capacity) for group in degraded.groups] == [
        (Kind.MEMORY, PATTERN.bytes),
        (Kind.COARSE, PATTERN.bytes // 8),
    ]
    spilled = plan({"policy": {"kind": "spill", "spill_bytes": 40960}}).layout
    assert [(group.kind, group.count) for group in spilled.groups] == [(Kind.MEMORY, 4), (Kind.SPILL, 10)]
    assert spilled.spill_file == "spill"


@pytest.mark.parametrize(
    ("placement", "stream", "staged"),
    [
        ("process", {}, 32),
        ("cores", {}, 32),
        ("process", {"policy": {"kind": "spill", "spill_bytes": 40960}}, 10),
        ("process", {"max_bytes": 6 * PATTERN.bytes}, 2),
        ("process", {"max_bytes": 1}, 0),
        ("nodes", {}, 0),
        ("job", {}, 0),
    ],
)
def test_frames_wait_in_memory_for_the_file_where_the_worker_can_move_them_and_there_is_room(placement, stream, staged):
    values = config({"policy": {"kind": "spill"}} | stream, placement={"kind": placement})
    layout = ring_plan(values, {"pattern": PATTERN}, is_root=True, spill_file=Path("spill")).layout
    assert [group.staged for group in layout.groups] == [0, staged]


@pytest.mark.parametrize(("side", "staged"), [(100, 4), (140, 2), (260, 2)])
def test_large_frames_that_wait_for_the_file_are_fewer_but_two(side, staged):
    layout = plan({"policy": {"kind": "spill"}}, Variable("float32", (side,) * 3)).layout
    assert layout.groups[1].staged == staged


def test_operators_that_do_not_fit_are_refused_before_the_first_step():
    with pytest.raises(ValueError, match=r"streams\.pattern\.operators: operators\[0\]"):
        plan({"operators": [{"kind": "bin", "factor": 5}]})
    with pytest.raises(ValueError, match=r"streams\.pattern\.policy \(degrade\)"):
        plan({"policy": {"kind": "degrade", "factor": 3}})


def test_slots_have_the_size_of_what_operators_deliver():
    layout = plan({"operators": [{"kind": "crop", "shape": [4, 4, 4]}, {"kind": "cast", "dtype": "float32"}]}).layout
    assert layout.groups[0].capacity == 4 * 64
    assert layout.variable("pattern") == ("float32", (4, 4, 4))


def test_where_all_is_summed_to_the_root_other_ranks_have_no_ring():
    summed = {"operators": [{"kind": "sum_to_root"}]}
    assert plan(summed, is_root=True).layout is not None
    assert plan(summed, is_root=False).layout is None
