"""An engine that is behind for long computes on more partitions at once."""

import pytest

from inference_insitu.scaling import Scaling, ScalingConfig

CONFIG = ScalingConfig(least=1, most=4, behind=100, ahead=5, for_s=10.0, pause_s=60.0)


def test_it_doubles_while_frames_wait_and_halves_once_none_do():
    scaling = Scaling(CONFIG, 1, now_s=-1000.0)
    assert [scaling.due(150, now_s) for now_s in (0.0, 9.0, 10.0, 11.0)] == [None, None, 2, None]
    assert scaling.due(150, 69.0) is None, "a minute has not passed since the last change"
    assert scaling.due(150, 70.0) == 4
    assert scaling.due(150, 200.0) is None, "there are no more"
    assert [scaling.due(0, now_s) for now_s in (210.0, 219.0, 220.0)] == [None, None, 2]


def test_between_the_bounds_nothing_changes_and_time_begins_anew():
    scaling = Scaling(CONFIG, 2, now_s=-1000.0)
    scaling.due(150, 0.0)
    assert scaling.due(50, 9.0) is None
    assert scaling.due(150, 12.0) is None
    assert scaling.due(150, 22.0) == 4


def test_the_same_bounds_never_scale():
    scaling = Scaling(ScalingConfig(least=2, most=2, for_s=0.0), 7, now_s=-1000.0)
    assert scaling.count == 2
    assert scaling.due(10**6, 0.0) is None
    assert scaling.due(0, 1000.0) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"least": 3, "most": 2}, r"least and most must lie in order in \[1, 256\], got \(3, 2\)"),
        ({"ahead": 100}, r"ahead must lie in \[0, behind\) = \[0, 100\), got 100"),
        ({"for_s": -1.0}, "for_s must be at least 0, got -1.0"),
    ],
)
def test_bounds_that_contradict_each_other_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        ScalingConfig(**values)
