import pytest

from vlmalign.data.case_ranking import NoRankingError, ranks_of


@pytest.mark.parametrize(
    ("pairs", "ranks"),
    [
        ([(0, 1)], (1, 2)),
        ([(2, 1), (1, 0)], (3, 2, 1)),  # 2 > 0 follows
        ([(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)], (1, 2, 2, 4)),  # 1 and 2 are ties
        ([(0, 2), (1, 2)], (1, 1, 3)),
    ],
)
def test_ranks_count_the_better_answers_and_answers_alike_to_all_others_are_ties(pairs, ranks):
    assert ranks_of(pairs, len(ranks)) == ranks


@pytest.mark.parametrize(
    ("pairs", "place", "says"),
    [
        ([(3, 0), (0, 1), (1, 2), (2, 0)], 1, "go round in a circle"),
        ([(0, 1), (1, 2), (0, 3)], 2, "leave open how answers 3 and 2 rank"),  # 3 is below 0: like 1, or like 2?
        ([(0, 1), (2, 3)], 0, "leave open how answers 0 and 3 rank"),
    ],
)
def test_pairs_without_a_ranking_are_refused_with_one_of_them(pairs, place, says):
    with pytest.raises(NoRankingError, match=says) as error:
        ranks_of(pairs, 4)
    assert error.value.pair == place
