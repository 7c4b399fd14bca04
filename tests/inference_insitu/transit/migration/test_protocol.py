"""The agreement: what moves in one order say, whoever reads them."""

from functools import reduce

import pytest

from inference_insitu.transit.log.records import Move, PoisonedRecordError, Said
from inference_insitu.transit.migration.protocol import Agreement, Ended, Refused, Site

JOINED = [Move("run", Said.JOINED, worker=number, step=2) for number in range(2)]
REQUEST = Move("run", Said.REQUEST, to=Site.IN_TRANSIT)


def after(*moves, margin=2):
    return reduce(lambda agreement, one: agreement.after(*one), enumerate(moves, 1), Agreement(margin=margin))


def ready(worker, step, id=3):
    return Move("run", Said.READY, id=id, worker=worker, step=step)


def installed(worker, id=3):
    return Move("run", Said.INSTALLED, id=id, worker=worker)


def test_the_cut_lies_beyond_what_any_worker_may_answer_before_it_is_known():
    assert after(*JOINED, REQUEST, ready(0, 10)).cut is None
    assert after(*JOINED, REQUEST, ready(0, 10), ready(1, 17)).cut == 17 + 2 + 1
    assert after(*JOINED, REQUEST, ready(0, 10), ready(1, 17), margin=0).cut == 18


def test_the_last_installed_commits_and_nothing_before_the_cut_does():
    begun = [*JOINED, REQUEST]
    assert after(*begun, installed(0), installed(1)).migration is not None, "not before the cut"
    agreed = [*begun, ready(0, 1), ready(1, 1)]
    assert after(*agreed, installed(0)).site is Site.IN_SITU
    moved = after(*agreed, installed(0), installed(1))
    assert (moved.site, moved.moved, moved.migration) == (Site.IN_TRANSIT, Ended(3, Site.IN_TRANSIT, 4), None)


def test_whichever_comes_first_of_the_last_installed_and_an_abort_settles_it():
    agreed = [*JOINED, REQUEST, ready(0, 1), ready(1, 1), installed(0)]
    abort = Move("run", Said.ABORT, id=3, why="too slow")
    assert after(*agreed, abort, installed(1)).last == Ended(3, Site.IN_TRANSIT, 4, "too slow")
    assert after(*agreed, installed(1), abort).last == Ended(3, Site.IN_TRANSIT, 4)


def test_a_worker_that_is_gone_is_not_waited_for_but_what_it_was_promised_holds():
    gone = Move("run", Said.GONE, worker=1)
    assert after(*JOINED, REQUEST, ready(1, 30), gone, ready(0, 5)).cut == 33
    assert after(*JOINED, REQUEST, ready(0, 5), gone).cut == 8
    assert after(*JOINED, REQUEST, ready(0, 5), gone, installed(0)).site is Site.IN_TRANSIT
    both = [*JOINED, REQUEST, gone, Move("run", Said.GONE, worker=0)]
    assert after(*both).last == Ended(3, Site.IN_TRANSIT, None, "every worker has ended")


def test_the_run_is_over_once_every_worker_was_there_and_is_gone():
    gone = [Move("run", Said.GONE, worker=number) for number in range(2)]
    assert not after().over
    assert not after(JOINED[0], gone[0]).over, "the other one has not come yet"
    assert not after(*JOINED, gone[0]).over
    assert after(*JOINED, *gone).over
    assert not after(*JOINED, *gone, JOINED[1]).over, "it was started anew"


VERSION = Move("run", Said.REQUEST, analysis="defects", number=2)


def test_a_version_takes_over_by_the_same_moves_and_frames_stay_where_they_are_answered():
    agreed = [*JOINED, VERSION, ready(0, 4), ready(1, 6)]
    taken = after(*agreed, installed(0), installed(1))
    assert (taken.site, taken.moved, taken.versions) == (Site.IN_SITU, None, {"defects": 2})
    assert taken.last == Ended(3, Site.IN_SITU, 9, "", "defects", 2)
    aborted = after(*agreed, installed(0), Move("run", Said.ABORT, id=3, why="no"), installed(1))
    assert (aborted.versions, aborted.version("defects")) == ({}, 0)
    again = after(*agreed, installed(0), installed(1), VERSION)
    assert again.last == Refused(8, "version 2 of defects answers already")
    assert after(*agreed, REQUEST).last == Refused(6, "takeover 3 by version 2 of defects is under way", busy=True)


def test_moves_of_another_migration_change_nothing():
    begun = [*JOINED, REQUEST]
    abort = Move("run", Said.ABORT, id=7, why="an old one")
    assert after(*begun, ready(0, 4, id=2), installed(0, id=2), abort) == after(*begun)


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("in_situ", "frames are answered in_situ already"),
        ("mars", "a migration must go to one of in_situ, in_transit, got 'mars'"),
    ],
)
def test_a_request_that_leads_nowhere_is_refused(to, why):
    assert after(*JOINED, Move("run", Said.REQUEST, to=to)).last == Refused(3, why)


def test_a_move_says_something_known():
    with pytest.raises(PoisonedRecordError, match=r"said must be one of joined, gone, request, .* got 'perhaps'"):
        Move("run", "perhaps")
