"""`vlmalign evaluate judge | injections`."""

import json

import pytest

from vlmalign.records import DatasetBuild, Judgement

SAID = {
    "one": ["first", "second", "first", None],
    "two": ["first", "second", "second", "tie"],
}


@pytest.fixture
def judged(tmp_path):
    """A folder for each judge; `one` was asked in both orders."""
    for judge, verdicts in SAID.items():
        with DatasetBuild(tmp_path / judge, "judgement", {}, data_use="open") as build:
            for n, verdict in enumerate(verdicts):
                ids = (f"{n}/a", f"{n}/b")
                state = {"verdict": verdict} if verdict else {"valid": False, "invalid_reason": "refused: no"}
                common = {"case_id": str(n), "candidate_ids": ids, "judge": judge}
                made = [Judgement(id=f"{judge}{n}", criterion="pairwise", **common, **state)]
                if judge == "one" and verdict:
                    for k, order in enumerate((ids, ids[::-1])):
                        said = "second" if n == 0 and k else verdict
                        made.append(Judgement(id=f"{judge}{n}/{k}", criterion="pairwise.order", verdict=said,
                                              display_order=order, **common))  # fmt: skip
                build.commit(f"{judge}{n}", made)
    return [tmp_path / judge for judge in SAID]


def test_states_positions_and_agreement_of_judges_in_folders_of_their_own(vlmalign, judged, tmp_path):
    result = vlmalign("evaluate", "judge", *judged, "--json", "j.json")
    assert result.code == 0, result.err
    assert "refused" in result.out and "both orders agree" in result.out and "Cohen's kappa" in result.out
    found = json.loads((tmp_path / "j.json").read_text())
    states = {(row["judge"], row["criterion"]): row["states"] for of in found["states"].values() for row in of}
    counted = {name: share["successes"] for name, share in states["one", "pairwise"].items()}
    assert counted == {"first": 2, "second": 1, "refused": 1} and states["two", "pairwise"]["tie"]["n"] == 4
    position = found["position"][str(judged[0])]["one"]
    assert (position["consistent"]["successes"], position["consistent"]["n"]) == (2, 3)
    alpha, kappa = found["agreement"]["pairwise"]["figures"]
    assert kappa["n"] == 3 and kappa["value"] == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    assert kappa["low"] <= kappa["value"] <= kappa["high"]


def test_one_judge_has_no_agreement_and_a_wrong_criterion_or_folder_is_named(vlmalign, refused, judged):
    assert "no criterion has two judges" in vlmalign("evaluate", "judge", judged[1]).out
    refused("evaluate", "judge", judged[0], "--criterion", "pairwse", says="Did you mean 'pairwise'?")
    refused("evaluate", "judge", "nowhere", says="nowhere")
    refused("evaluate", "judge", judged[0], judged[0], says="a folder is given twice")


def test_injections_want_a_judge_that_compares(refused, tmp_path):
    (tmp_path / "other.yaml").write_text("{stage: sft, config: {}}")
    refused("evaluate", "injections", "other.yaml", says="not of 'judge'")
    refused("evaluate", "injections", "smear-judge", says="injections are measured on verdicts")
    refused("evaluate", "injections", "smear-judge", "--set", "budgt.max_cost=1", says="Did you mean 'budget'?")
