"""Scores of folders of judgements: what is known of the doubt in a difference."""

import pytest

from vlmalign.records import Judgement
from vlmalign.records.scores import margin_std


def side(name, std=None, **components):
    return Judgement(
        id=name, case_id="c", candidate_ids=(name,), criterion="x", judge="j@1", score=1.0, std=std,
        components=components,
    )  # fmt: skip


def test_what_the_reward_said_of_a_pair_stands_before_what_its_members_and_stds_say():
    """The members of an ensemble of doubting heads leave out the doubt of each head, and so are too sure."""
    sides = [side(f"p/{n}", 1.0, margin_std=7.0, member_0=n, member_1=2.0 * n) for n in (1.0, 3.0)]
    assert margin_std(*sides) == 7.0


def test_of_two_pairs_nothing_was_said_together_and_members_tell():
    first = side("p/chosen", margin_std=7.0, member_0=1.0, member_1=2.0)
    second = side("q/chosen", margin_std=9.0, member_0=4.0, member_1=3.0)
    assert margin_std(first, second) == pytest.approx(2**0.5)  # -3 and -1


def test_independent_stds_add_up_as_squares():
    assert margin_std(side("p/a", 3.0), side("p/b", 4.0)) == 5.0
    assert margin_std(side("p/a", 3.0), side("p/b")) is None


def test_members_that_are_not_the_same_ones_are_not_held_against_each_other():
    first, second = side("p/a", 3.0, member_0=1.0, member_1=2.0), side("p/b", 4.0, member_1=1.0, member_2=2.0)
    assert margin_std(first, second) == 5.0
    assert margin_std(first.model_copy(update={"std": None}), second) is None
