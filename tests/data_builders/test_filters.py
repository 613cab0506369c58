import pytest
from PIL import Image
from pydantic import ValidationError

from data_builders.filter_rules import DemonstrationRules, PairRules, too_long
from data_builders.filters import filter_demonstrations, filter_pairs, read_dropped
from vlmalign.records import (
    DataError,
    DatasetBuild,
    Demonstration,
    Preference,
    assistant,
    read_manifest,
    read_records,
    user,
)

SCORES = {
    "sure": ((3.0, 0.1), (0.0, 0.1)),
    "slight": ((1.0, 0.1), (0.9, 0.1)),
    "wrong": ((0.0, 0.1), (2.0, 0.1)),
    "noisy": ((2.0, 3.0), (0.0, 4.0)),
    "cut": ("cut by the token limit", (1.0, 0.1)),
}


@pytest.fixture
def pairs(pair_folders):
    return pair_folders.pairs("pairs", {name: {} for name in SCORES})


@pytest.fixture
def judged(pairs, pair_folders):
    sha = read_manifest(pairs).records_sha256
    return pair_folders.judged_pairs("judged", SCORES, config={"pairs": sha})


def ids(folder, kind=Preference):
    return [record.id for record in read_records(folder, kind)]


def dropped(folder):
    return {line["id"]: line["reasons"] for line in read_dropped(folder)}


def test_pairs_that_the_reward_decides_otherwise_are_dropped_and_listed(pairs, judged, tmp_path):
    out = filter_pairs(pairs, tmp_path / "out", rules=PairRules(min_margin=0.0), judged=judged)
    assert ids(out) == ["sure", "slight", "noisy"]
    assert dropped(out) == {"wrong": ["disagrees"], "cut": ["unscored"]}
    assert read_dropped(out)[1]["unscored"] == "cut by the token limit"
    counts = read_manifest(out).counts
    assert (counts["given"], counts["records"], counts["dropped"]) == (5, 3, 2)
    assert (counts["dropped:disagrees"], counts["dropped:unscored"]) == (1, 1)
    kept = {pair.id: pair for pair in read_records(pairs, Preference)}
    assert all(pair == kept[pair.id] for pair in read_records(out, Preference))


def test_a_pair_is_counted_under_its_first_reason_and_listed_with_all(pairs, judged, tmp_path):
    rules = PairRules(min_margin=0.5, min_certainty=1.0, max_std=1.0)
    out = filter_pairs(pairs, tmp_path / "out", rules=rules, judged=judged)
    assert ids(out) == ["sure"]
    # std of the noisy margin is 5, that of the others 0.14: 2 / 5 and 0.1 / 0.14 are below 1
    assert dropped(out) == {
        "slight": ["small_margin", "uncertain"],
        "wrong": ["disagrees"],
        "noisy": ["uncertain", "large_std"],
        "cut": ["unscored"],
    }
    counts = read_manifest(out).counts
    assert counts["dropped"] == 4 == sum(n for name, n in counts.items() if name.startswith("dropped:"))


def test_unscored_pairs_may_be_kept_and_are_then_counted(pairs, judged, tmp_path):
    out = filter_pairs(pairs, tmp_path / "out", rules=PairRules(min_margin=0.0, unscored="keep"), judged=judged)
    assert "cut" in ids(out)
    assert read_manifest(out).counts["kept_unscored"] == 1


def test_the_widest_share_is_of_the_scored_pairs_that_other_rules_left(pairs, judged, tmp_path):
    rules = PairRules(top_share=0.5, max_std=1.0, unscored="keep")
    out = filter_pairs(pairs, tmp_path / "out", rules=rules, judged=judged)
    assert ids(out) == ["sure", "slight", "cut"]  # of sure, slight and wrong two, rounded up
    assert dropped(out) == {"wrong": ["not_in_top_share"], "noisy": ["large_std"]}


def test_of_equal_margins_at_the_edge_the_earlier_pair_is_kept(pair_folders, tmp_path):
    folder = pair_folders.pairs("pairs", {name: {} for name in "abcd"})
    judged = pair_folders.judged_pairs("judged", {name: (1.0, 0.0) for name in "abcd"})
    assert ids(filter_pairs(folder, tmp_path / "out", rules=PairRules(top_share=0.5), judged=judged)) == ["a", "b"]


@pytest.mark.parametrize(
    ("limits", "long"),
    [
        ({"max_length_ratio": 1.5}, {"ratio", "both"}),
        ({"max_extra_words": 5}, {"words", "both"}),
        ({"max_length_ratio": 1.5, "max_extra_words": 5}, {"ratio", "words", "both"}),
        ({"max_length_ratio": 1.5, "max_extra_words": 5, "length_limits": "all"}, {"both"}),
    ],
)
def test_limits_of_length_alone_or_together(limits, long):
    lengths = {"ratio": (6, 2), "words": (27, 20), "both": (30, 10), "at": (15, 10), "shorter": (1, 30)}
    rules = PairRules(**limits)
    assert {name for name, (chosen, rejected) in lengths.items() if too_long(chosen, rejected, rules)} == long


def test_length_needs_no_judgements_and_other_rules_do(pair_folders, judged, pairs, tmp_path):
    folder = pair_folders.pairs("long", {"a": {"chosen": "one two three four"}, "b": {"chosen": "one"}})
    out = filter_pairs(folder, tmp_path / "out", rules=PairRules(max_extra_words=0, max_length_ratio=0.9))
    assert dropped(out) == {} and ids(out) == ["a", "b"]  # rejected has four words
    with pytest.raises(ValueError, match="min_margin: this goes by a reward. Give judged"):
        filter_pairs(folder, tmp_path / "x", rules=PairRules(min_margin=0.0))
    with pytest.raises(ValueError, match="no rule goes by a reward"):
        filter_pairs(pairs, tmp_path / "x", rules=PairRules(max_extra_words=1), judged=judged)
    assert not (tmp_path / "x").exists()


def test_certainty_without_a_std_is_refused_by_name(pairs, pair_folders, tmp_path):
    judged = pair_folders.judged_pairs("plain", {name: (1.0, 0.0) for name in SCORES})
    with pytest.raises(DataError, match="'sure/chosen' without a standard deviation, which min_certainty needs"):
        filter_pairs(pairs, tmp_path / "x", rules=PairRules(min_certainty=1.0), judged=judged)


def test_judgements_of_other_pairs_are_refused(pair_folders, judged, tmp_path):
    other = pair_folders.pairs("other", {"sure": {}})
    with pytest.raises(DataError, match="of other pairs"):
        filter_pairs(other, tmp_path / "x", rules=PairRules(min_margin=0.0), judged=judged)


@pytest.mark.parametrize("rules", [{}, {"unscored": "keep"}, {"top_share": 0.0}, {"min_certainty": -1.0}])
def test_rules_that_say_nothing_or_cannot_be_are_refused(rules):
    with pytest.raises(ValidationError):
        PairRules(**rules)


def test_a_killed_filter_continues_to_the_same_bytes_and_the_list_is_restored(
    pairs, judged, tmp_path, killed, bytes_of
):
    rules = PairRules(min_margin=0.0)
    whole = filter_pairs(pairs, tmp_path / "whole", rules=rules, judged=judged)
    killed(lambda: filter_pairs(pairs, tmp_path / "out", rules=rules, judged=judged), 3)
    out = filter_pairs(pairs, tmp_path / "out", rules=rules, judged=judged)
    assert bytes_of(out) == bytes_of(whole)
    (out / "dropped.jsonl").unlink()
    filter_pairs(pairs, tmp_path / "out", rules=rules, judged=judged)
    assert bytes_of(out) == bytes_of(whole)
    with pytest.raises(DataError, match="other settings.*rules"):
        filter_pairs(pairs, tmp_path / "out", rules=PairRules(min_margin=1.0), judged=judged)


@pytest.fixture
def demonstrations(tmp_path):
    with DatasetBuild(tmp_path / "demos", "demonstration", {}) as build:
        for i in range(5):
            image = build.add_image(Image.new("RGB", (8, 8), (i, 0, 0)))
            build.commit(f"d{i}", [Demonstration(
                id=f"d{i}", case_id=f"c{i}", group_id=f"g{i}", split="train", images=(image,), source="labels",
                prompt=(user("Describe.", images=1),), response=(assistant("A field."),),
            )])  # fmt: skip
    return tmp_path / "demos"


def test_demonstrations_are_dropped_below_a_score_or_among_the_lowest(demonstrations, pair_folders, tmp_path):
    scores = {"d0": 0.5, "d1": 0.1, "d2": 0.9, "d3": "no claim parsed", "d4": 0.4}
    judged = pair_folders.judged("judged", scores)

    def run(name, **rules):
        return filter_demonstrations(
            demonstrations, tmp_path / name, rules=DemonstrationRules(**rules), judged=judged
        )

    out = run("score", min_score=0.4)
    assert ids(out, Demonstration) == ["d0", "d2", "d4"]
    assert dropped(out) == {"d1": ["low_score"], "d3": ["unscored"]}
    out = run("share", drop_lowest=0.5, unscored="keep")
    assert ids(out, Demonstration) == ["d0", "d2", "d3"]
    assert dropped(out) == {"d1": ["among_lowest"], "d4": ["among_lowest"]}
    assert ids(run("none", drop_lowest=0.2, unscored="keep"), Demonstration) == [f"d{i}" for i in range(5)]


def test_a_folder_without_a_list_was_not_written_by_a_filter(pairs):
    with pytest.raises(DataError, match="no dropped.jsonl"):
        read_dropped(pairs)
