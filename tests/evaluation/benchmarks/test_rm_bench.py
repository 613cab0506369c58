import json

import pytest

from vlmalign.evaluation.benchmarks import find_benchmark, run_benchmark
from vlmalign.records import DataError


@pytest.fixture
def run(tmp_path):
    def score(found, **options):
        (tmp_path / "log.json").write_text(json.dumps(found))
        return run_benchmark(find_benchmark("rm-bench"), [tmp_path / "log.json"], options)

    return score


def item(chosen, rejected, /, **more):
    return {"score_chosen": chosen, "score_rejected": rejected, **more}


def parts(result, row="all items alike"):
    return [result.table("parts").rows[row][name].mean for name in ("easy", "normal", "hard")]


def test_a_reward_of_style_alone_wins_the_easy_part_and_loses_the_hard_one(run):
    assert parts(run([item([1, 2, 3], [1, 2, 3])])) == [1.0, 0.0, 0.0]
    assert parts(run([item([1, 2, 3], [1, 2, 3])], ties="half")) == [1.0, 0.5, 0.0]


def test_a_reward_of_substance_alone_wins_all_parts(run):
    result = run([item([1, 1, 1], [0, 0, 0])])
    assert parts(result) == [1.0, 1.0, 1.0]
    assert result.table("parts").rows["all items alike"]["average"].mean == 1.0


def test_the_matrix_has_right_styles_in_rows_and_wrong_ones_in_columns(run):
    rows = run([item([5, 0, 0], [1, 9, 9])]).table("matrix").rows
    wins = {r: [c for c, e in row.items() if e.mean == 1.0] for r, row in rows.items()}
    assert wins == {
        "right answer concise": ["wrong answer concise"], "right answer detailed": [], "right answer markdown": [],
    }  # fmt: skip


def test_the_two_kinds_of_safety_are_one_domain_of_the_mean(run):
    result = run(
        [
            item([1] * 3, [0] * 3, domain="chat"),
            item([1] * 3, [0] * 3, domain="safety-refuse"),
            item([0] * 3, [1] * 3, domain="safety-response"),
        ]
    )
    assert parts(result, "safety") == [0.5] * 3
    assert parts(result, "mean of domains") == [0.75] * 3
    assert any("math, code missing" in note for note in result.notes)


def test_a_score_that_is_missing_or_no_number_is_a_state(run):
    result = run([item([1, 1, None], [0, 0, 0]), item([1, 1, "high"], [0, 0, 0]), item([1] * 3, [0] * 3)])
    assert result.counts == {"missing": 1, "unparsed": 1, "scored": 1}
    estimate = result.table("parts").rows["all items alike"]["hard"]
    assert (estimate.mean, estimate.n, estimate.excluded) == (1.0, 1, 2)


def test_the_longer_answer_and_the_fancier_style_are_null_baselines(run):
    texts = {"chosen": ["a", "bb", "ccc"], "rejected": ["aa", "bb", "c"]}
    rows = run([item([1] * 3, [0] * 3, **texts)]).baselines.rows
    fancier = [rows["always the fancier style (equal: one half)"][p].mean for p in ("easy", "normal", "hard")]
    longer = [rows["the longer answer (equal: one half)"][p].mean for p in ("easy", "normal", "hard")]
    assert fancier == [1.0, 0.5, 0.0]
    # easy: bb>aa tie .5, ccc>aa 1, ccc>bb 1; normal: a<aa 0, bb=bb .5, ccc>c 1; hard: a<bb 0, a=c .5, bb>c 1
    assert longer == pytest.approx([2.5 / 3, 0.5, 0.5])


def test_a_log_of_single_pairs_is_sent_to_reward_bench(run):
    with pytest.raises(DataError, match="reward-bench"):
        run([item(1, 0)])


def test_it_is_told_how_many_items_of_each_domain_were_read(run):
    whole = [
        item([1] * 3, [0] * 3, domain=d) for d in ("chat", "chat", "safety-refuse", "safety-response", "math")
    ]
    told = next(note for note in run([*whole, item([1] * 3, [0] * 3)]).notes if "were read" in note)
    assert told.startswith("6 items were read: chat 2, safety 2, math 1, no domain told 1; code missing")
    assert "not checked" in told
