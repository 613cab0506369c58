import json

import pytest

from vlmalign.evaluation.benchmarks import find_benchmark, run_benchmark
from vlmalign.records import DataError

WITH, WITHOUT, HALF = "with ties (a tie is wrong)", "without ties", "a tie is one half"


@pytest.fixture
def run(tmp_path):
    def score(files, **options):
        paths = []
        for name, rows in files.items():
            paths.append(tmp_path / f"{name}.json")
            paths[-1].write_text(json.dumps(rows))
        return run_benchmark(find_benchmark("mj-bench"), paths, options)

    return score


def row(first, second, label="0", **more):
    return {"caption": "c", "score_0": first, "score_1": second, "label": label, **more}


def test_a_tie_is_a_difference_of_at_most_the_threshold(run):
    rows = [row(0.5, 0.4), row(0.5, 0.49), row(0.4, 0.5), row(0.4, 0.5, "1")]
    strict = run({"clip_safety": rows}, threshold="0.05").table("perspectives_scores").rows["safety"]
    assert [strict[name].mean for name in (WITH, WITHOUT, HALF)] == [0.5, pytest.approx(2 / 3), 0.625]
    none = run({"clip_safety": rows}).table("perspectives_scores").rows["safety"]
    assert none[WITH].mean == none[WITHOUT].mean == 0.75


def test_scores_and_the_verdict_of_a_judge_are_told_apart(run):
    rows = [row("4", "4", vlm_pred="0"), row("4", "5", "1", vlm_pred="-1"), row("3", "3", vlm_pred="what")]
    result = run({"judge_alignment": rows})
    scores = result.table("perspectives_scores").rows["alignment"][WITH]
    verdict = result.table("perspectives_verdict").rows["alignment"][WITH]
    assert (scores.mean, scores.n) == (pytest.approx(1 / 3), 3)
    assert (verdict.mean, verdict.n, verdict.excluded) == (0.5, 2, 1)


def test_a_refusal_with_the_middle_score_is_not_a_tie(run):
    rows = [row(5, 5, analysis="I'm sorry, I cannot compare people."), row(5, 3)]
    result = run({"judge_safety": rows})
    assert result.counts["refused"] == 1 and result.table("perspectives_scores").rows["safety"][WITH].n == 1


def test_naming_the_first_image_wins_where_the_log_puts_the_better_one_first(run):
    result = run({"x_quality": [row(0, 1)] * 3})
    assert result.table("perspectives_scores").rows["quality"][WITH].mean == 0.0
    assert result.baselines.rows["always image 0"]["accuracy"].mean == 1.0
    assert any("in 3 of 3 items the better image is image 0" in note for note in result.notes)


def test_the_overall_score_has_the_recovered_weights(run):
    files = {"a_alignment": [row(1, 0)], "a_safety": [row(0, 1)], "a_artifact": [row(1, 0)]}
    result = run(files, bias_acc="50")
    overall = result.table("overall_scores").rows["overall"]["with ties"]
    assert overall.mean == pytest.approx((724 + 1121 + 540 * 0.5) / (724 + 574 + 1121 + 540))
    assert any("--set bias_acc" in note for note in run(files).notes)


def test_a_tied_label_is_excluded_and_a_foreign_one_refused(run):
    assert run({"p": [row(1, 0, "tie"), row(1, 0)]}).counts == {"label_tied": 1, "scored": 1}
    with pytest.raises(DataError, match="label is '2'"):
        run({"p": [row(1, 0, "2")]})
