"""What patterns cannot tell apart, and the reflection that would."""

import numpy as np
import pytest
from test_predict_command import HIDDEN, OPEN, SURE, measured, predicted

from cdi.lattices.lattice import Lattice
from models.prediction import BurgersCandidate
from training.indistinguishable import alike, indistinguishable, telling_reflection

GOLD = Lattice.of_material("Au")


def test_candidates_of_one_chance_are_alike() -> None:
    assert alike(SURE) == SURE.candidates
    assert len(alike(OPEN)) == 2


def test_the_telling_reflection_winds_differently_and_is_the_shortest() -> None:
    """½[101] and ½[110] wind alike in 111 and 200, not in 1 1 -1: a permutation of 111 is the shortest that tells."""
    pair = (BurgersCandidate((0.5, 0, 0.5), 0.4), BurgersCandidate((0.5, 0.5, 0), 0.4))
    found = telling_reflection(GOLD, pair, ((1, 1, 1), (2, 0, 0)))
    assert found is not None
    assert GOLD.allows(found)
    assert sorted(map(abs, found)) == [1, 1, 1]
    windings = [abs(np.dot(found, b.fractions)) for b in pair]
    assert windings[0] != pytest.approx(windings[1])


def test_a_vector_and_its_negative_are_told_apart_by_nothing() -> None:
    pair = (BurgersCandidate((0.5, 0, 0.5), 0.4), BurgersCandidate((-0.5, 0, -0.5), 0.4))
    assert telling_reflection(GOLD, pair, ((1, 1, 1),)) is None


def test_the_sentences_name_the_twin_the_vectors_and_the_hidden_ones() -> None:
    text = "\n".join(indistinguishable(predicted((SURE, OPEN, HIDDEN)), measured()))
    assert "(the twin)" in text
    assert "The Burgers vector of line 2: ½[101], ½[110] wind alike here; a pattern of (" in text
    assert "line 1" not in text
    assert "½[0-11]: they do not show in (1 1 1), (2 0 0)" in text or "½[01-1]" in text
    assert "2 reflections show only" in text
