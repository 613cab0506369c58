import pytest

from data_builders.pairing import PairingConfig, Scored, make_pairs, unverified_difference
from data_builders.scoring import Score
from vlmalign.records import Candidate, Sampling, assistant


def scored(number, value, *, text=None, words=10, tokens=None, unverified=None, unrecognised=0):
    candidate = Candidate(
        id=f"c/{number}",
        case_id="c",
        messages=(assistant(text or f"answer {number}"),),
        policy="p@0",
        sampling=Sampling(max_new_tokens=9, sample=number),
        seed=number,
        tokens=tokens,
    )
    score = Score(value, None if value is not None else "nothing_parsed", unverified=unverified or {})
    return Scored(candidate, score, words, unrecognised)


def ids(pairs):
    return [(p.chosen.candidate.id, p.rejected.candidate.id) for p in pairs]


def test_best_is_chosen_over_worst():
    pairs, counts = make_pairs([scored(0, 0.5), scored(1, -0.5), scored(2, 1.0)], PairingConfig())
    assert ids(pairs) == [("c/2", "c/1")]
    assert pairs[0].margin == pytest.approx(1.5)
    assert counts == {"candidates": 3}


def test_differences_below_the_margin_are_ties_and_give_no_pair():
    pairs, counts = make_pairs([scored(0, 0.5), scored(1, 0.4), scored(2, 0.5)], PairingConfig(min_margin=0.25))
    assert not pairs
    assert counts["ties"] == 3 and counts["cases_without_pair"] == 1


def test_a_margin_met_exactly_counts_despite_rounding():
    pairs, _ = make_pairs([scored(0, 0.1 + 0.2), scored(1, 0.05)], PairingConfig(min_margin=0.25))
    assert len(pairs) == 1


def test_equal_texts_are_counted_once():
    same = [scored(0, 1.0, text="A b."), scored(1, 0.0, text="a  B."), scored(2, 0.0)]
    pairs, counts = make_pairs(same, PairingConfig())
    assert counts["duplicates"] == 1 and ids(pairs) == [("c/0", "c/2")]


def test_of_two_equal_texts_the_valid_one_is_kept():
    """The token limit may have cut the one just where the other ended."""
    same = [scored(0, None, text="A b."), scored(1, 1.0, text="A b."), scored(2, 0.0)]
    pairs, counts = make_pairs(same, PairingConfig())
    assert ids(pairs) == [("c/1", "c/2")]
    assert counts == {"candidates": 3, "duplicates": 1}


def test_invalid_candidates_are_rejected_only_when_asked_for():
    some = [scored(0, 1.0), scored(1, None)]
    pairs, counts = make_pairs(some, PairingConfig())
    assert not pairs and counts["invalid:nothing_parsed"] == 1
    pairs, counts = make_pairs(some, PairingConfig(invalid_as_rejected=True))
    assert ids(pairs) == [("c/0", "c/1")] and pairs[0].margin is None
    assert counts["pairs_with_invalid"] == 1


def test_only_invalid_candidates_never_make_a_pair():
    pairs, counts = make_pairs([scored(0, None), scored(1, None)], PairingConfig(invalid_as_rejected=True))
    assert not pairs and counts["invalid"] == 2


def test_all_pairs_with_a_gap_come_widest_first_and_can_be_capped():
    some = [scored(0, 0.0), scored(1, 0.5), scored(2, 1.0)]
    pairs, _ = make_pairs(some, PairingConfig(mode="all"))
    assert ids(pairs) == [("c/2", "c/0"), ("c/1", "c/0"), ("c/2", "c/1")]
    pairs, _ = make_pairs(some, PairingConfig(mode="all", max_pairs=1))
    assert ids(pairs) == [("c/2", "c/0")]


def test_length_control_skips_longer_chosen_answers_and_counts_them():
    some = [scored(0, 1.0, words=30), scored(1, 0.6, words=11), scored(2, 0.0, words=10)]
    pairs, counts = make_pairs(some, PairingConfig(max_length_ratio=1.2))
    assert ids(pairs) == [("c/1", "c/2")]
    assert counts["too_long"] == 2


def test_length_is_measured_in_tokens_where_they_are_known():
    some = [scored(0, 1.0, words=10, tokens=50), scored(1, 0.0, words=10, tokens=10)]
    assert not make_pairs(some, PairingConfig(max_length_ratio=1.2))[0]


def test_matching_unverified_claims_gives_up_a_little_margin_for_agreement():
    some = [
        scored(0, 1.0, unverified={"focus": "sharp", "stain": "dark"}),
        scored(1, 0.0, unverified={"focus": "blurred", "stain": "pale"}),
        scored(2, 0.2, unverified={"focus": "sharp", "stain": "dark"}),
    ]
    assert ids(make_pairs(some, PairingConfig())[0]) == [("c/0", "c/1")]
    assert ids(make_pairs(some, PairingConfig(match_unverified=True))[0]) == [("c/0", "c/2")]
    strict = PairingConfig(match_unverified=True, near_margin=0.1)
    assert ids(make_pairs(some, strict)[0]) == [("c/0", "c/1")]


def test_unreadable_sentences_are_unverified_too():
    one, other = scored(0, 1.0, unverified={"focus": "sharp"}), scored(1, 0.0, unrecognised=2)
    assert unverified_difference(one, other) == 3


@pytest.mark.parametrize("options", [{"mode": "all", "match_unverified": True}, {"max_pairs": 2}, {"margin": 1}])
def test_contradictory_and_unknown_options_are_refused(options):
    with pytest.raises(ValueError):
        PairingConfig(**options)
