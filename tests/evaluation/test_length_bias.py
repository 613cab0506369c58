import pytest

from vlmalign.evaluation.judged_pairs import read_judged_pairs
from vlmalign.evaluation.length_bias import difference_of_means, length_figures, spearman_within_prompts, tokens
from vlmalign.records import Preference, RecordFolder


@pytest.fixture
def judged(pair_folders):
    """Pairs of answers of given lengths and scores: name -> ((words, score), (words, score)), fields."""

    def join(pairs):
        fields, scores = {}, {}
        for name, (sides, more) in pairs.items():
            texts = [" ".join(["w"] * n) + end for (n, _), end in zip(sides, (".", "!"), strict=True)]
            fields[name] = {"chosen": texts[0], "rejected": texts[1], **more}
            scores[name] = tuple(score for _, score in sides)
        folder = pair_folders.pairs("pairs", fields)
        return read_judged_pairs(RecordFolder(folder, Preference), pair_folders.judged_pairs("judged", scores))

    return join


def test_for_pairs_the_rank_correlation_is_concordant_minus_discordant(judged):
    two = {"a": (((5, 2.0), (3, 1.0)), {}), "b": (((5, 9.0), (1, 0.0)), {}), "c": (((2, 1.0), (4, 0.0)), {})}
    assert spearman_within_prompts(judged(two)).mean == pytest.approx((2 - 1) / 3)


def test_answers_that_several_pairs_share_count_once_and_give_spearman_of_the_prompt(judged):
    same = {"case_id": "c", "group_id": "g"}
    # four answers to one prompt: lengths 1 2 3 4 (by end: distinct texts), scores 10 30 20 40
    sides = {"p": ((4, 40.0), (1, 10.0)), "q": ((3, 20.0), (1, 10.0)), "r": ((4, 40.0), (2, 30.0))}
    pairs = {name: (both, same) for name, both in sides.items()}
    estimate = spearman_within_prompts(judged(pairs))
    assert (estimate.mean, estimate.n) == (pytest.approx(0.8), 4)  # scipy.stats.spearmanr of the four
    assert estimate.low is None  # one group


def test_scores_of_other_units_per_prompt_do_not_hide_the_correlation(judged):
    pairs = {f"p{i}": (((5, 100.0 * i + 1), (2, 100.0 * i)), {}) for i in range(5)}
    estimate = spearman_within_prompts(judged(pairs))
    assert estimate.mean == pytest.approx(1.0)
    assert estimate.low < 1 - 0.5  # five groups that agree do not make a certainty


@pytest.mark.parametrize("sides", [((3, 2.0), (3, 1.0)), ((9, 1.0), (2, 1.0))])
def test_nothing_is_said_where_all_lengths_or_all_scores_are_equal(judged, sides):
    estimate = spearman_within_prompts(judged({"a": (sides, {})}))
    assert (estimate.mean, estimate.excluded) == (None, 2)


def test_a_reward_that_goes_by_length_is_right_only_where_the_longer_answer_is(judged):
    pairs = {}
    for i in range(6):
        pairs[f"long{i}"] = (((6, 6.0), (2, 2.0)), {})
        pairs[f"short{i}"] = (((2, 2.0), (6, 6.0)), {})
    found = length_figures(judged(pairs))
    assert (found["chosen_longer"].mean, found["chosen_shorter"].mean) == (1.0, 0.0)
    assert found["longer_minus_shorter"].mean == 1.0 and found["longer_minus_shorter"].low > 0
    assert found["longer_wins"].mean == 0.5
    assert found["reward_minus_longer_wins"].mean == 0.0


def test_an_unscored_pair_is_excluded_from_the_rule_too(judged):
    found = length_figures(judged({"a": (((6, 6.0), (2, 2.0)), {}), "b": (((6, "cut"), (2, 2.0)), {})}))
    assert (found["longer_wins"].n, found["longer_wins"].excluded) == (1, 1)


def test_tokens_are_those_that_the_builder_recorded(judged):
    recorded = {"provenance": {"length": {"chosen_tokens": 7, "rejected_tokens": None}}}
    (pair,) = judged({"a": (((6, 6.0), (2, 2.0)), recorded)}).pairs
    assert (tokens(pair, "chosen"), tokens(pair, "rejected")) == (7.0, None)


def test_means_of_two_subsets_are_resampled_together():
    a = [1.0, 1.0, None, None] * 10
    b = [None, None, 0.0, 1.0] * 10
    estimate = difference_of_means(a, b, [f"g{i // 4}" for i in range(40)])
    assert (
        estimate.mean == 0.5 and estimate.low < 0.5 < estimate.high
    )  # every group is the same: no false certainty
    assert difference_of_means([1.0], [None], ["g"]).mean is None


def test_answers_of_equal_length_are_half_right_by_the_rule_and_neither_longer_nor_shorter(judged):
    found = length_figures(judged({"a": (((4, 6.0), (4, 2.0)), {}), "b": (((6, 6.0), (2, 2.0)), {})}))
    assert found["longer_wins"].mean == 0.75
    assert (found["chosen_longer"].n, found["chosen_shorter"].n) == (1, 0)
