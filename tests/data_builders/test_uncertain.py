import pytest

from data_builders.uncertain import choose_uncertain
from vlmalign.records import DataError, Preference, read_manifest, read_records

SCORES = {  # certainty |margin| / std, the std of both sides being 3 and 4
    "sure": ((50.0, 3.0), (0.0, 4.0)),
    "near": ((1.0, 3.0), (0.0, 4.0)),
    "nearer": ((0.0, 3.0), (0.5, 4.0)),
    "wide": ((9.0, 30.0), (0.0, 40.0)),
    "cut": ("cut", (1.0, 1.0)),
}


@pytest.fixture
def pairs(pair_folders):
    decided = {
        "margin": 2.0, "judge_ids": ("j@1",), "chosen_critique": "right", "changed_claim": {"concept": "stain"},
        "provenance": {"chosen_candidate": "c/1"},
    }  # fmt: skip
    return pair_folders.pairs("pairs", {name: decided for name in SCORES})


@pytest.fixture
def judged(pairs, pair_folders):
    return pair_folders.judged_pairs("judged", SCORES)


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("certainty", ["nearer", "wide", "near"]),  # 0.1, 0.18, 0.2
        ("margin", ["nearer", "near", "wide"]),
    ],
)
def test_the_least_sure_pairs_come_first(pairs, judged, tmp_path, by, order):
    out = choose_uncertain(pairs, judged, tmp_path / "out", n=3, by=by)
    found = read_records(out, Preference)
    assert [pair.id for pair in found] == order
    assert [pair.provenance["uncertainty"]["rank"] for pair in found] == [1, 2, 3]
    counts = read_manifest(out).counts
    assert (counts["given"], counts["unscored"], counts["more_certain"]) == (5, 1, 1)


def test_the_largest_std_comes_first_when_asked(pairs, judged, tmp_path):
    assert (
        read_records(choose_uncertain(pairs, judged, tmp_path / "out", n=1, by="std"), Preference)[0].id == "wide"
    )


def test_nothing_of_the_label_is_left_but_what_joins_it_again(pairs, judged, tmp_path):
    before = {pair.id: pair for pair in read_records(pairs, Preference)}
    sides = set()
    for seed in range(4):
        for pair in read_records(
            choose_uncertain(pairs, judged, tmp_path / str(seed), n=4, seed=seed), Preference
        ):
            told = pair.provenance.pop("uncertainty")
            assert (pair.weight, pair.margin, pair.judge_ids, pair.chosen_critique) == (0.0, None, (), None)
            assert pair.changed_claim is None and pair.provenance == {} and told["decided"] is False
            original = before[pair.id]
            expected = (
                (original.rejected, original.chosen) if told["swapped"] else (original.chosen, original.rejected)
            )
            assert (pair.chosen, pair.rejected) == expected
            sides.add(told["swapped"])
    assert sides == {True, False}


def test_a_group_fills_no_more_than_its_places_and_equals_come_in_seeded_order(pair_folders, tmp_path):
    fields = {f"p{i}": {"group_id": f"g{i // 4}"} for i in range(12)}
    pairs = pair_folders.pairs("pairs", fields)
    judged = pair_folders.judged_pairs("judged", {name: (1.0, 1.0) for name in fields})

    def chosen(name, seed):
        out = choose_uncertain(pairs, judged, tmp_path / name, n=5, by="margin", per_group=2, seed=seed)
        return out, [pair.id for pair in read_records(out, Preference)]

    out, first = chosen("a", 0)
    groups = [fields[name]["group_id"] for name in first]
    assert len(first) == 5 and max(groups.count(group) for group in groups) == 2
    assert first == chosen("b", 0)[1] != chosen("c", 1)[1]
    counts = read_manifest(out).counts
    assert counts.get("left_out_for_group", 0) + counts.get("more_certain", 0) == 7


def test_a_tie_without_any_std_is_the_least_certain_and_a_margin_without_std_the_most():
    from data_builders.reward_scores import Margin

    assert Margin(0.0, 0.0).certainty == 0.0
    assert Margin(0.1, 0.0).certainty == float("inf")
    assert Margin(None, None, "cut").certainty is None


def test_a_missing_std_is_named_and_a_folder_without_scores_refused(pairs, pair_folders, tmp_path):
    plain = pair_folders.judged_pairs("plain", {name: (1.0, 0.0) for name in SCORES})
    with pytest.raises(DataError, match="without a standard deviation, which choosing by certainty needs"):
        choose_uncertain(pairs, plain, tmp_path / "x", n=1)
    nothing = pair_folders.judged_pairs("nothing", {name: ("cut", "cut") for name in SCORES})
    with pytest.raises(DataError, match="none of the 5 pairs is scored"):
        choose_uncertain(pairs, nothing, tmp_path / "x", n=1)


def test_a_killed_choice_continues_to_the_same_bytes(pairs, judged, tmp_path, killed, bytes_of):
    whole = choose_uncertain(pairs, judged, tmp_path / "whole", n=3)
    killed(lambda: choose_uncertain(pairs, judged, tmp_path / "out", n=3), 2)
    assert bytes_of(choose_uncertain(pairs, judged, tmp_path / "out", n=3)) == bytes_of(whole)
