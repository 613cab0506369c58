import json
import os
from pathlib import Path

import pytest

from vlmalign.evaluation.benchmarks import find_benchmark, run_benchmark
from vlmalign.evaluation.benchmarks.verdict_parsing import published_verdict, strict_verdict
from vlmalign.evaluation.benchmarks.vl_rewardbench import decide, read
from vlmalign.records import DataError

LOGS = Path(os.environ.get("VLMALIGN_DATA", Path(__file__).parents[3].parent / "shared" / "data")) / "ixc_logs"
needs_logs = pytest.mark.skipif(not LOGS.is_dir(), reason="the logs of IXC-2.5-Reward are absent (VLMALIGN_DATA)")
ACCURACY, COVERAGE, WORST = "accuracy of the decided", "coverage", "undecided counts as wrong"


def sample(name, text, *, ranking=(0, 1), swapped=0, answers=("short", "a longer answer"), **more):
    return {
        "id": name, "query": "q", "response": list(answers), "ranking": list(ranking),
        "meta": {"random_number": swapped, "filter_choice": text}, **more,
    }  # fmt: skip


@pytest.fixture
def run(tmp_path):
    def write(rows):
        (tmp_path / "log.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
        return tmp_path / "log.jsonl"

    def score(rows, **options):
        return run_benchmark(find_benchmark("vl-rewardbench"), [write(rows)], options)

    score.write = write
    return score


def mean(result, row, column=ACCURACY, table="groups_published"):
    return result.table(table).rows[row][column].mean


SAY_1, SAY_2, MUTE = "Therefore, Answer 1 is better.", "Therefore, Answer 2 is better.", "Both are fine."


def test_swapping_the_display_swaps_which_answer_a_number_names(run):
    rows = [
        sample("VLF-1", SAY_1),  # first stored is better and shown first: right
        sample("VLF-2", SAY_1, swapped=1),  # shown second: wrong
        sample("VLF-3", SAY_1, ranking=(1, 0)),  # second stored is better, shown second: wrong
        sample("VLF-4", SAY_1, ranking=(1, 0), swapped=1),  # shown first: right
    ]
    assert [decide(item, "published").outcome for item in read([run.write(rows)])] == [
        "right", "wrong", "wrong", "right",
    ]  # fmt: skip


def test_a_class_needs_strictly_more_than_half_and_undecided_items_leave_the_denominator(run):
    rows = [sample("mathverse_1", t) for t in (SAY_1, SAY_1, SAY_2)]  # right
    rows += [sample("mathverse_2", t) for t in (SAY_1, SAY_2)]  # no majority
    rows += [sample("mathverse_3", t) for t in (MUTE, MUTE, SAY_1)]  # unparsed
    rows += [sample("mathverse_4", t) for t in (SAY_2, SAY_2, MUTE)]  # wrong
    result = run(rows)
    row = result.table("groups_published").rows["reasoning"]
    assert (row[ACCURACY].mean, row[ACCURACY].n, row[ACCURACY].excluded) == (0.5, 2, 2)
    assert row[COVERAGE].mean == 0.5 and row[WORST].mean == 0.25
    assert result.counts["no_majority"] == 1 and result.counts["unparsed"] == 1
    assert result.counts["missing"] == 1246 and "reasoning 4 of 318" in result.notes[0]


def test_the_first_samples_vote_where_fewer_are_asked_for(run):
    rows = [sample("mathverse_1", t) for t in (SAY_2, SAY_1, SAY_1)]
    assert mean(run(rows, samples="1"), "reasoning") == 0.0
    assert mean(run(rows), "reasoning") == 1.0


def test_macro_averages_groups_and_micro_pools_items(run):
    rows = [sample(f"RLHF-V-{k}", SAY_1) for k in range(3)] + [sample("mathverse_1", SAY_2)]
    result = run(rows)
    assert mean(result, "overall (micro)") == 0.75 and mean(result, "macro") == 0.5


def test_the_published_parser_takes_any_other_number_as_agreement_and_ours_does_not(run):
    result = run([sample("mathverse_1", "Therefore, Answer 3 is better.")])
    assert mean(result, "reasoning") == 1.0
    assert mean(result, "reasoning", table="groups_strict") is None
    assert any("differ on 1 of 1" in note for note in result.notes)


@pytest.mark.parametrize(
    ("text", "published", "strict"),
    [
        ("**Overall Judgment**: Answer 2 is slightly better.", 2, 2),
        ("Overall Judgment:\nAnswer 1 is\nbetter", 1, 1),
        ("Answer 1 is better.", None, 1),
        ("Therefore Answer 1 is better. Overall Judgment: Answer 2 is better.", 2, 2),
        ("Overall Judgment: Answer 1 is better in tone, Answer 2 is better in truth.", 2, None),
        ("Overall Judgment: Answer 2 is not better than Answer 1.", None, None),
        ("Overall Judgment: both answers are equally good.", None, None),
        ("", None, None),
    ],
)
def test_what_the_two_parsers_read(text, published, strict):
    assert published_verdict(text).number == published
    assert strict_verdict(text).number == strict


def test_null_baselines_are_computed_from_the_texts_and_the_order(run):
    rows = [
        sample("mathverse_1", SAY_1),  # better: stored first, shorter, shown first
        sample("mathverse_2", SAY_1, ranking=(1, 0)),  # better: stored second, longer, shown second
        sample("mathverse_2", SAY_1, ranking=(1, 0), swapped=1),  # the same item, shown first
    ]
    rates = {name: row["accuracy"].mean for name, row in run(rows).baselines.rows.items()}
    assert rates["always the answer stored first"] == 0.5
    assert rates["the longer answer (equal: one half)"] == 0.5
    assert rates["always the answer shown first"] == 0.75


def test_a_line_with_a_foreign_ranking_is_named(run):
    with pytest.raises(DataError, match=r"log.jsonl:1.*mathverse_1.*ranking is \[1, 2\]"):
        run([sample("mathverse_1", SAY_1, ranking=(1, 2))])


def test_a_log_of_hits_whose_groups_do_not_add_up_is_refused(tmp_path):
    file = tmp_path / "r.json"
    hits = {"out_all": [1, 0], "out_general": [1], "out_hallucination": [1], "out_reasoning": []}
    file.write_text(json.dumps(hits | {"random_numbers": [0, 1]}))
    with pytest.raises(DataError, match="2 hits-or-misses with 1 hits, its groups together 2 with 2"):
        run_benchmark(find_benchmark("vl-rewardbench"), [file])


@needs_logs
def test_the_log_of_ixc_lands_on_two_of_the_papers_numbers_and_says_which_differ():
    result = run_benchmark(
        find_benchmark("vl-rewardbench"), [LOGS / "vl_rewardbench_results.json"], {"paper": "IXC-2.5-Reward"}
    )
    rows = result.table("groups").rows
    found = {name: round(100 * row[ACCURACY].mean, 2) for name, row in rows.items()}
    assert found == {
        "general": 84.70, "hallucination": 60.35, "reasoning": 62.89, "overall (micro)": 64.56, "macro": 69.31,
    }  # fmt: skip
    overall = rows["overall (micro)"][ACCURACY]
    assert overall.n == 1250 and abs(overall.low - 0.618) < 0.003 and abs(overall.high - 0.673) < 0.003
    assert result.counts == {"scored": 1250}
    told = " ".join(result.notes)
    assert "general 84.7, reasoning 62.9" in told
    for differs in ("hallucination 62.5", "overall (micro) 65.8", "macro 70.0"):
        assert f"says {differs}" in told


def test_of_a_damaged_log_the_lines_that_survive_vote_and_the_lost_items_are_missing(run):
    rows = [sample("mathverse_1", SAY_1), sample("mathverse_2", SAY_1), sample("mathverse_2", SAY_2),
            sample("mathverse_3", SAY_2)]  # fmt: skip
    file = run.write(rows)
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([lines[0], lines[1], bytes(len(lines[2])), lines[3]]))
    with pytest.raises(DataError, match="NUL"):
        run_benchmark(find_benchmark("vl-rewardbench"), [file])
    result = run_benchmark(find_benchmark("vl-rewardbench"), [file], {"damaged": "skip"})
    assert mean(result, "reasoning") == pytest.approx(2 / 3)  # mathverse_2 goes by the sample that is left
    assert result.counts == {"scored": 3, "missing": 1247}
    assert any("3 records survive whole" in note and "goes by the others" in note for note in result.notes)


def test_of_damaged_lists_of_hits_nothing_can_be_told(tmp_path):
    file = tmp_path / "r.json"
    hits = {
        "out_all": [1],
        "out_general": [1],
        "out_hallucination": [],
        "out_reasoning": [],
        "random_numbers": [0],
    }
    file.write_bytes(json.dumps(hits).encode().replace(b"[1]", b"[\0]", 1))
    with pytest.raises(DataError, match="no line of it survives whole"):
        run_benchmark(find_benchmark("vl-rewardbench"), [file], {"damaged": "skip"})
