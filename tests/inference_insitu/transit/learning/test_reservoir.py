"""The reservoir: a uniform sample that survives its process, and never more than its bytes."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from inference_insitu.transit.learning.reservoir import Reservoir, place_of


def offered(folder, numbers, *, places=5, seed=3, commit=True):
    reservoir = Reservoir(folder, places=places, seed=seed)
    for number in numbers:
        reservoir.offer(f"{number}".encode(), "topic", number)
        if commit:
            reservoir.commit("topic", number)
    return reservoir


def contents(reservoir):
    return sorted(int(path.read_bytes()) for path in reservoir.files)


def test_every_frame_is_kept_with_the_same_chance():
    """χ² of how often each of 40 frames ends among 8 places, over 600 seeds."""
    found = Counter()
    for seed in range(600):
        places = {}
        for number in range(1, 41):
            place = place_of(number, 8, seed)
            if place is not None:
                places[place] = number
        found.update(places.values())
    counts = np.array([found[number] for number in range(1, 41)])
    assert counts.sum() == 600 * 8
    assert chisquare(counts).pvalue > 0.01


def test_a_reservoir_that_is_killed_at_any_moment_ends_as_an_undisturbed_one(tmp_path):
    whole = contents(offered(tmp_path / "whole", range(1, 31)))
    for cut in (3, 5, 6, 17, 29):
        folder = tmp_path / f"cut-{cut}"
        offered(folder, range(1, cut - 1))
        offered(folder, range(1, cut + 2), commit=False)  # killed before it had said so
        again = Reservoir(folder, places=5, seed=3)
        assert again.taken["topic"] == cut - 2
        assert contents(offered(folder, range(1, 31))) == whole
        assert len([*folder.glob("*.frame")]) == 5, "nothing of a killed life is left"


def test_what_was_read_and_not_offered_is_remembered(tmp_path):
    reservoir = offered(tmp_path, [1, 2])
    reservoir.commit("topic", 7)
    reservoir.commit("topic", 5)
    assert Reservoir(tmp_path, places=5, seed=3).taken["topic"] == 7


def test_what_is_read_twice_is_offered_once(tmp_path):
    reservoir = offered(tmp_path, [1, 2, 3])
    assert not reservoir.offer(b"3", "topic", 3)
    assert reservoir.offer(b"3", "another", 3)
    assert reservoir.seen == 4


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "must be the state of a reservoir"),
        ("[1]", "hold an object"),
        ('{"places":5,"seed":3,"seen":2,"kept":[1,1]}', "be different numbers"),
        ('{"places":5,"seed":3,"seen":2,"kept":[1,9]}', r"different numbers in \[1, 2\]"),
        ('{"places":5,"seed":3,"seen":2,"kept":[1]}', "name the 2 frames"),
        ('{"places":5,"seed":4}', "must be of 5 places and seed 3, got 5 and 4; remove it"),
        ('{"places":5,"seed":3,"more":1}', "unknown key"),
    ],
)
def test_a_state_that_is_none_is_refused(tmp_path, content, why):
    (tmp_path / "reservoir.json").write_text(content)
    with pytest.raises(ValueError, match=why):
        Reservoir(tmp_path, places=5, seed=3)
