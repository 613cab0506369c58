import pytest

from vlmalign.records import Candidate, DataError, DatasetBuild, read_manifest, read_records
from vlmalign.rewards.picking import pick_best_of_n


@pytest.fixture
def candidates(make, tmp_path):
    """Three cases with three, two and one candidates."""
    with DatasetBuild(tmp_path / "candidates", "candidate", {}) as build:
        for i, k in enumerate((3, 2, 1)):
            build.commit(str(i), [make.candidate(f"answer {n}", i=i, n=n) for n in range(k)])
    return tmp_path / "candidates"


def picked(folder):
    return {c.case_id: c.id for c in read_records(folder, Candidate)}


def test_picks_come_in_case_order_with_how_they_were_picked_and_counts(candidates, pair_folders, tmp_path):
    judged = pair_folders.judged(
        "judged", {"c1/0": "cut", "c1/1": 0.1, "c0/0": 0.2, "c0/1": 0.9, "c0/2": 0.9, "c2/0": "no claim"}
    )
    out = pick_best_of_n(candidates, judged, tmp_path / "best")
    assert picked(out) == {"c0": "c0/1", "c1": "c1/1"}
    first = read_records(out, Candidate)[0].extra["best_of_n"]
    assert (first["score"], first["candidates"], first["scored"], first["highest"]) == (0.9, 3, 3, 2)
    assert first["judge"] == "fake@1"
    counts = read_manifest(out).counts
    assert {name: counts[name] for name in ("cases", "picked", "tied", "none_valid", "invalid")} == {
        "cases": 3, "picked": 2, "tied": 1, "none_valid": 1, "invalid": 2,
    }  # fmt: skip


def test_only_the_first_n_are_picked_from_and_short_cases_are_counted(candidates, pair_folders, tmp_path):
    judged = pair_folders.judged("judged", {"c0/0": 0.2, "c0/1": 0.1, "c0/2": 0.9, "c1/0": 0.0, "c1/1": 0.5})
    out = pick_best_of_n(candidates, judged, tmp_path / "best", n=2)
    assert picked(out) == {"c0": "c0/0", "c1": "c1/1"}
    counts = read_manifest(out).counts
    assert (counts["fewer_than_n"], counts["unjudged"], counts["none_valid"]) == (1, 1, 1)


def test_pessimism_passes_over_what_the_reward_does_not_know(candidates, pair_folders, tmp_path):
    judged = pair_folders.judged("judged", {"c0/0": (0.9, 1.0), "c0/1": (0.7, 0.1)})
    assert picked(pick_best_of_n(candidates, judged, tmp_path / "plain"))["c0"] == "c0/0"
    out = pick_best_of_n(candidates, judged, tmp_path / "wary", pessimism=1.0)
    assert picked(out)["c0"] == "c0/1"
    assert read_records(out, Candidate)[0].extra["best_of_n"]["value"] == pytest.approx(0.6)


def test_pessimism_without_a_std_names_the_judgement_and_below_zero_is_refused(candidates, pair_folders, tmp_path):
    judged = pair_folders.judged("judged", {"c0/0": (0.9, 1.0), "c0/1": 0.7})
    with pytest.raises(ValueError, match="'c0/1/fake' by fake@1 has a score without a standard deviation"):
        pick_best_of_n(candidates, judged, tmp_path / "out", pessimism=0.5)
    for bad in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="give 0"):
            pick_best_of_n(candidates, judged, tmp_path / "bad", pessimism=bad)
    assert not (tmp_path / "bad").exists()


def test_judgements_of_other_candidates_are_refused(candidates, pair_folders, tmp_path):
    judged = pair_folders.judged("judged", {"c0/0": 1.0}, config={"candidates": "f" * 64})
    with pytest.raises(DataError, match="of other candidates"):
        pick_best_of_n(candidates, judged, tmp_path / "out")
