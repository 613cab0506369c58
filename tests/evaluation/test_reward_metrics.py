import pytest

from vlmalign.evaluation.judged_pairs import read_judged_pairs
from vlmalign.evaluation.pair_subsets import question_kind, subset_of
from vlmalign.evaluation.reward_metrics import (
    compare_rewards,
    confident_mistakes,
    macro_mean,
    pair_figures,
    reward_figures,
)
from vlmalign.records import DataError, Preference, RecordFolder, assistant, user
from vlmalign.records.preference import Dyad


@pytest.fixture
def judged(pair_folders):
    """Join pairs named by their scores; a pair's fields are the defaults unless given."""

    def join(scores, fields=None, **options):
        folder = pair_folders.pairs("pairs", {name: (fields or {}).get(name, {}) for name in scores})
        path = pair_folders.judged_pairs("judged", scores)
        return read_judged_pairs(RecordFolder(folder, Preference), path, **options)

    return join


def test_a_tie_is_half_a_win_or_none_and_an_unscored_pair_is_neither(judged):
    found = judged({"win": (2.0, 1.0), "tie": (1.0, 1.0), "loss": (0.0, 3.0), "cut": ("cut", 1.0)})
    figures = pair_figures(found.pairs)
    assert figures.accuracy.mean == pytest.approx(1.5 / 3)
    assert figures.strict.mean == figures.ties.mean == pytest.approx(1 / 3)
    assert (figures.unscored.mean, figures.accuracy.excluded, figures.unscored.n) == (0.25, 1, 4)


def test_swapping_the_sides_turns_accuracy_over_and_keeps_ties(pair_folders):
    scores = {"a": (2.0, 1.0), "b": (1.0, 1.0), "c": (5.0, 3.0)}
    folder = RecordFolder(pair_folders.pairs("pairs", {name: {} for name in scores}), Preference)
    there = read_judged_pairs(folder, pair_folders.judged_pairs("there", scores))
    back = read_judged_pairs(folder, pair_folders.judged_pairs("back", {n: s[::-1] for n, s in scores.items()}))
    a, b = pair_figures(there.pairs), pair_figures(back.pairs)
    assert a.accuracy.mean == pytest.approx(1 - b.accuracy.mean)
    assert a.ties == b.ties


def test_the_average_over_subsets_weighs_a_small_subset_like_a_large_one(judged):
    claim = {"changed_claim": {"concept": "stain"}}
    scores = {"a": (1.0, 0.0), "b": (1.0, 0.0), "c": (1.0, 0.0), "d": (0.0, 1.0)}
    figures = reward_figures(judged(scores, {"d": claim}), by=["concept"])
    assert figures["accuracy"]["mean"] == 0.75
    assert figures["by"]["concept"]["macro"]["mean"] == 0.5
    subsets = figures["by"]["concept"]["subsets"]
    assert {name: (s["accuracy"]["mean"], s["accuracy"]["n"]) for name, s in subsets.items()} == {
        "not stated": (1.0, 3),
        "stain": (0.0, 1),
    }
    assert figures["counts"] == {"pairs": 4, "scored": 4, "ties": 0, "unscored": 0}


def test_the_average_over_one_subset_is_the_pooled_mean_with_its_interval():
    values, groups = [1.0, 0.0, 1.0, None], list("abcd")
    from vlmalign.evaluation import cluster_estimate

    assert macro_mean(values, ["x"] * 4, groups) == cluster_estimate(values, groups, proportion=True)


def test_reasons_for_unscored_pairs_are_counted_and_a_missing_judgement_is_one(pair_folders):
    folder = pair_folders.pairs("pairs", {"a": {}, "b": {}, "c": {}})
    path = pair_folders.judged_pairs("judged", {"a": (1.0, 0.0), "b": (1.0, "no claim parsed")})
    figures = reward_figures(read_judged_pairs(RecordFolder(folder, Preference), path), by=[])
    assert figures["unscored_reasons"] == {"no claim parsed": 1, "no judgement": 1}
    assert (figures["accuracy"]["n"], figures["accuracy"]["excluded"]) == (1, 2)


def test_rewards_are_compared_on_the_pairs_that_both_scored(pair_folders):
    names = [f"p{i}" for i in range(8)]
    folder = RecordFolder(pair_folders.pairs("pairs", {name: {} for name in names}), Preference)
    good = pair_folders.judged_pairs("good", {name: (1.0, 0.0) for name in names})
    bad = pair_folders.judged_pairs("bad", {name: (0.0, 1.0 if name != "p0" else "cut") for name in names})
    found = compare_rewards(
        {n: read_judged_pairs(folder, p) for n, p in (("good", good), ("bad", bad))}, margin=0.02
    )
    difference = found["good_minus_bad"]
    assert (difference["mean"], difference["n"], difference["excluded"]) == (1.0, 7, 1)
    assert difference["conclusion"] == "benefit"


def test_the_worst_mistake_comes_first_and_ties_and_unscored_pairs_are_none(judged):
    found = judged({"near": (0.0, 0.1), "far": (0.0, 5.0), "tie": (1.0, 1.0), "win": (1, 0), "cut": ("cut", 9.0)})
    assert [mistake.pair.id for mistake in confident_mistakes(found, 5)] == ["far", "near"]
    assert len(confident_mistakes(found, 1)) == 1


def test_both_pictures_of_a_role_swapped_item_are_in_one_cluster(judged):
    item = {"provenance": {"groups": ["g2", "g1"]}}
    found = judged({"a": (1.0, 0.0), "b": (1.0, 0.0)}, {"a": item, "b": item})
    assert found.groups == [Dyad("g1", "g2")] * 2
    accuracy = pair_figures(found.pairs).accuracy
    assert accuracy.n_groups == 2 and accuracy.low == pytest.approx(0.025)  # as one trial has it


def test_two_blind_rewards_do_not_differ_by_item_and_the_interval_says_how_little_that_is(pair_folders):
    fields, a, b = {}, {}, {}
    for i in range(6):
        for side, score in (("first", 1.0), ("second", 0.0)):
            fields[f"{i}/{side}"] = {"provenance": {"item": i, "groups": [f"g{i}", f"h{i}"]}}
            a[f"{i}/{side}"], b[f"{i}/{side}"] = (score, 0.5), (1 - score, 0.5)
    folder = RecordFolder(pair_folders.pairs("pairs", fields), Preference)
    rewards = {n: read_judged_pairs(folder, pair_folders.judged_pairs(n, s)) for n, s in (("a", a), ("b", b))}
    difference = compare_rewards(rewards, margin=0.02)["a_minus_b"]
    assert (difference["mean"], difference["n"], difference["conclusion"]) == (0.0, 6, "undecided")
    swapped = reward_figures(rewards["a"], by=[])["role_swapped"]
    assert (swapped["mean"], swapped["n"]) == (0.5, 6)


def test_judgements_of_other_pairs_are_refused(pair_folders):
    folder = RecordFolder(pair_folders.pairs("pairs", {"a": {}}), Preference)
    other = pair_folders.judged_pairs("other", {"a": (1.0, 0.0)}, config={"pairs": "f" * 64})
    with pytest.raises(DataError, match="of other pairs"):
        read_judged_pairs(folder, other)
    stranger = pair_folders.judged_pairs("stranger", {"z": (1.0, 0.0)})
    with pytest.raises(DataError, match="no judgement is of a side of these pairs"):
        read_judged_pairs(folder, stranger)


def test_a_reward_is_not_measured_on_its_own_labels_unless_it_is_named(judged):
    own = {"a": {"judge_ids": ["fake@1"]}}
    with pytest.raises(DataError, match="decided 1 of these 1 pairs itself.*--own-labels fake@1"):
        judged({"a": (1.0, 0.0)}, own)


def test_own_labels_may_be_used_by_name(judged):
    assert judged({"a": (1.0, 0.0)}, {"a": {"judge_ids": ["fake@1"]}}, own_labels=["fake"]).judge == "fake@1"


def test_questions_reports_and_conversations_are_told_apart(pair_folders, judged):
    ask = (user("Is a leukocyte present?", images=1),)
    turns = (assistant("Yes."), user("Which?"), assistant("Segmented."))
    found = judged(
        {"r": (1, 0), "q": (1, 0), "c": (1, 0)}, {"q": {"prompt": ask}, "c": {"prompt": ask, "chosen": turns}}
    )
    assert [question_kind(judged.pair) for judged in found.pairs] == ["report", "question", "conversation"]


def test_a_logic_names_the_concept_that_a_question_asks(judged):
    from vlmalign.clinical import load_logic, question_text

    logic = load_logic("peripheral_smear")
    (one,) = judged(
        {"q": (1, 0)}, {"q": {"prompt": (user(question_text(logic, "stain", seed=0), images=1),)}}
    ).pairs
    assert question_kind(one.pair, logic) == "stain"


def test_a_provenance_key_may_go_deep_and_may_be_absent(judged):
    (one,) = judged({"a": (1, 0)}, {"a": {"provenance": {"length": {"words": 3}, "differing": ["x", "y"]}}}).pairs
    of = {key: subset_of(f"provenance.{key}")(one.pair) for key in ("length.words", "differing", "none.at.all")}
    assert of == {"length.words": "3", "differing": "x, y", "none.at.all": "not stated"}
