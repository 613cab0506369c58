"""K sampled verdicts and their majority."""

import pytest

from data_builders.judges.reading import state_of
from data_builders.judges.vote import Vote
from data_builders.judges.voting import Count, count_votes, majority


@pytest.mark.parametrize(
    ("votes", "outcome"),
    [
        (["first"] * 3 + ["second"] * 2, "first"),
        (["tie"] * 3 + ["second"] * 2, "tie"),
        (["first"] * 2 + ["second"] * 2 + [None], "vote_tie"),
        (["first"] * 2 + ["second"] + [None] * 2, "no_majority"),  # 2 of 3 readable ones, but not of 5
        (["first"] * 5 + ["second"] * 4 + [None], "no_majority"),  # exactly half is no majority
        (["first"] + [None] * 4, "unparsed"),
    ],
)
def test_a_majority_is_more_than_half_of_all_that_were_asked(votes, outcome):
    found = majority(votes)
    assert getattr(found, "state", found) == outcome


def test_the_votes_tell_how_sure_their_share_is():
    count = count_votes(["first"] * 3 + ["second", "tie", None])
    assert count == Count(3, 1, 1, 1)
    assert (count.share, count.coverage) == (0.75, pytest.approx(5 / 6))
    # Beta(3.5, 1.5): variance 3.5 * 1.5 / (25 * 6)
    assert count.std == pytest.approx((5.25 / 150) ** 0.5)
    assert Count(0, 0, 2, 1).std is None and "share_first" not in Count(0, 0, 2, 1).components()


def test_each_sample_has_its_own_seeded_order(item, script, judged):
    judge = script("R.\nVERDICT: A")
    found = judged(Vote(samples=20, seed=3), item("x", "y"), judge)
    assert [request.sample for request in judge.requests] == list(range(20))
    assert {request.temperature for request in judge.requests} == {0.2}
    orders = [request.display_order for request in judge.requests]
    assert 4 <= orders.count(("a", "b")) <= 16
    again, other = script("R.\nVERDICT: A"), script("R.\nVERDICT: A")
    judged(Vote(samples=5, seed=3), item("x", "y"), again)
    assert [request.display_order for request in again.requests] == orders[:5]
    judged(Vote(samples=20, seed=4), item("x", "y"), other)
    assert [request.display_order for request in other.requests] != orders
    final = found[-1]
    assert final.components["votes_first"] == orders.count(("a", "b"))  # A is whoever was shown first
    assert (len(found), final.criterion, found[0].criterion) == (21, "vote", "vote.sample")


def test_unread_samples_are_counted_and_cost_coverage(item, script, judged):
    def reply(request):
        shown = "AB"[request.display_order.index("b")]
        return "Hm." if request.sample < 2 else f"R.\nVERDICT: {shown}"

    final = judged(Vote(samples=5), item("x", "y"), script(reply))[-1]
    assert (final.verdict, final.components["coverage"], final.components["votes_unread"]) == ("second", 0.6, 2)
    final = judged(Vote(samples=4), item("x", "y"), script(reply))[-1]
    assert (state_of(final), final.std) == ("no_majority", None)


def test_the_benchmark_offers_no_tie(item, script, judged):
    judge = script("R.\nVERDICT: TIE")
    final = judged(Vote(samples=3), item("x", "y"), judge)[-1]
    assert "TIE" not in judge.prompts[0] and state_of(final) == "unparsed"
