"""Agreement, by hand-worked and published numbers."""

import numpy as np
import pytest

from vlmalign.evaluation.agreement import cohen_kappa, fleiss_kappa, jury_agreement, krippendorff_alpha
from vlmalign.records import DatasetBuild, Judgement

# Krippendorff, Content Analysis (2004), the example of four observers and twelve units
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
UNITS = list(zip(*OBSERVERS, strict=True))
# Fleiss (1971): 14 raters, 10 subjects, five categories, as counts
FLEISS = [
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
]  # fmt: skip


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example_is_reproduced(level, alpha):
    found = krippendorff_alpha(UNITS, level)
    assert found.value == pytest.approx(alpha, abs=5e-4)
    assert found.n == 11  # the last unit has one rating
    assert found.low < found.value < found.high


def test_fleiss_own_example_is_reproduced():
    rows = [[category for category, n in enumerate(counts) for _ in range(n)] for counts in FLEISS]
    assert fleiss_kappa(rows, resamples=0).value == pytest.approx(0.210, abs=5e-4)


def test_cohens_kappa_by_hand():
    rows = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    found = cohen_kappa([*rows, ("y", None)])
    # p_o = 35/50; p_e = (25 * 30 + 25 * 20) / 2500 = 1/2
    assert found.value == pytest.approx(0.4) and found.n == 50
    assert 0 < found.low < 0.4 < found.high < 0.7
    assert cohen_kappa([("y", "n"), ("n", "y")]).value == pytest.approx(-1.0)


@pytest.mark.parametrize("figure", [cohen_kappa, fleiss_kappa, krippendorff_alpha])
def test_agreement_without_variation_is_undefined_not_perfect(figure):
    found = figure([("y", "y")] * 5)
    assert (found.value, found.low) == (None, None) and "same" in found.reason
    found = figure([("y", None), (None, "n")])
    assert (found.value, found.reason) == (None, "no case was rated by two judges")


@pytest.mark.parametrize("figure", [cohen_kappa, fleiss_kappa, krippendorff_alpha])
def test_a_judge_who_always_says_the_same_agrees_no_better_than_chance(figure):
    rows = [("y", "y"), ("y", "n"), ("y", "y"), ("y", "n")]
    assert figure(rows, resamples=0).value <= 0


def test_order_of_judges_and_of_cases_does_not_matter():
    assert krippendorff_alpha([row[::-1] for row in UNITS[::-1]], "ordinal", resamples=0).value == pytest.approx(
        krippendorff_alpha(UNITS, "ordinal", resamples=0).value
    )


def test_ragged_rows_are_refused():
    with pytest.raises(ValueError, match=r"the rows hold \[1, 2\] ratings"):
        krippendorff_alpha([(1, 2), (1,)])
    with pytest.raises(ValueError, match=r"hold \[3\] ratings, expected 2 in every row"):
        cohen_kappa([(1, 2, 3)])


def test_the_agreement_of_a_folder_leaves_invalid_judgements_out(tmp_path):
    said = {"one": ["first", "second", "first", None], "two": ["first", "second", "second", "tie"]}
    with DatasetBuild(tmp_path / "j", "judgement", {}, data_use="open") as build:
        for judge, verdicts in said.items():
            for n, verdict in enumerate(verdicts):
                state = {"verdict": verdict} if verdict else {"valid": False, "invalid_reason": "unparsed: x"}
                build.commit(f"{judge}{n}", [Judgement(
                    id=f"{judge}{n}", case_id=str(n), candidate_ids=(f"{n}/a", f"{n}/b"), criterion="pairwise",
                    judge=judge, **state,
                )])  # fmt: skip
    alpha, kappa = jury_agreement(tmp_path / "j", "pairwise")
    assert (alpha.n, kappa.n, kappa.value) == (3, 3, pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9)))
    with pytest.raises(ValueError, match="0 judge.s. on 'vote'"):
        jury_agreement(tmp_path / "j", "vote")


@pytest.mark.parametrize("figure", [cohen_kappa, fleiss_kappa, krippendorff_alpha])
def test_a_patient_whose_cases_come_five_times_makes_no_interval_narrower(figure):
    rng = np.random.default_rng(0)
    rows = [(int(a), int(a if rng.random() < 0.7 else 1 - a)) for a in rng.integers(0, 2, 40)]
    once = figure(rows)
    five = [row for row in rows for _ in range(5)]
    clustered = figure(five, clusters=[patient for patient in range(40) for _ in range(5)])
    assert (clustered.n, clustered.clusters, once.clusters) == (200, 40, 40)
    assert (clustered.low, clustered.high) == pytest.approx((once.low, once.high), abs=0.01)
    alone = figure(five)
    assert alone.high - alone.low < 0.6 * (once.high - once.low)
    one = figure(five, clusters=["p"] * 200)
    assert one.value is not None and one.low is None  # one patient says nothing of others
    with pytest.raises(ValueError, match="3 clusters for 200 rows: give one each"):
        figure(five, clusters=[1, 2, 3])


def build_judged(folder, said, state):
    """`said`: judge -> what it says of the candidates 0, 1, 2, ..., of which two and two are of one case."""
    with DatasetBuild(folder, "judgement", {}, data_use="open") as build:
        for judge, row in said.items():
            build.commit(judge, [
                Judgement(id=f"{judge}{n}", case_id=str(n // 2), candidate_ids=state["ids"](n), criterion="c",
                          judge=judge, **{state["field"]: value})
                for n, value in enumerate(row)
            ])  # fmt: skip
    return folder


@pytest.mark.parametrize("judges", [2, 3])
def test_the_candidates_of_a_case_are_drawn_together(tmp_path, judges):
    said = dict(list({"one": ["first", "second"] * 4, "two": ["first"] * 3 + ["second"] * 5,
                      "three": ["first"] * 4 + ["second"] * 4}.items())[:judges])  # fmt: skip
    state = {"field": "verdict", "ids": lambda n: (f"{n}/a", f"{n}/b")}
    found = jury_agreement(build_judged(tmp_path / "j", said, state), "c")
    assert [(each.n, each.clusters) for each in found] == [(8, 4), (8, 4)]


def test_scores_are_compared_by_how_far_they_lie_apart(tmp_path):
    said = {"one": [0.1, 0.5, 0.9, 0.3], "two": [0.2, 0.5, 0.8, 0.3]}
    state = {"field": "score", "ids": lambda n: (f"{n}",)}
    (alpha,) = jury_agreement(build_judged(tmp_path / "j", said, state), "c")
    assert alpha.name == "Krippendorff's alpha (interval)" and alpha.clusters == 2
    rows = list(zip(*said.values(), strict=True))
    by_distance = krippendorff_alpha(rows, "interval", resamples=0).value
    assert alpha.value == pytest.approx(by_distance) and by_distance > 0.9
