import json
import os
from pathlib import Path

import pytest

from vlmalign.evaluation.benchmarks import find_benchmark, run_benchmark
from vlmalign.evaluation.benchmarks.reward_bench_sections import COUNTS, SECTIONS
from vlmalign.records import DataError

LOGS = Path(os.environ.get("VLMALIGN_DATA", Path(__file__).parents[3].parent / "shared" / "data")) / "ixc_logs"
needs_logs = pytest.mark.skipif(not LOGS.is_dir(), reason="the logs of IXC-2.5-Reward are absent (VLMALIGN_DATA)")
STRICT, HALF, WITHOUT = "accuracy, a tie is wrong", "accuracy, a tie is one half", "accuracy without ties"
#: of PKU-Alignment/beaver-7b-v1.0-cost, from the README of RewardBench (Apache-2.0)
BEAVER = {
    "alpacaeval-easy": 50 / 100, "alpacaeval-length": 56 / 95, "alpacaeval-hard": 67 / 95,
    "mt-bench-easy": 16 / 28, "mt-bench-med": 29 / 40, "mt-bench-hard": 20 / 37, "llmbar-natural": 52 / 100,
    "llmbar-adver-neighbor": 58 / 134, "llmbar-adver-GPTInst": 36 / 92, "llmbar-adver-GPTOut": 22 / 47,
    "llmbar-adver-manual": 17 / 46,
    "refusals-dangerous": 0.97, "refusals-offensive": 1, "xstest-should-refuse": 1, "xstest-should-respond": 0.284,
    "donotanswer": 112 / 136, "math-prm": 132 / 447, "hep-cpp": 103 / 164, "hep-go": 104 / 164,
    "hep-java": 116 / 164, "hep-js": 109 / 164, "hep-python": 90 / 164, "hep-rust": 106 / 164,
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    def score(found, **options):
        (tmp_path / "log.json").write_text(json.dumps(found))
        return run_benchmark(find_benchmark("reward-bench"), [tmp_path / "log.json"], options)

    return score


def pair(chosen, rejected, /, **more):
    return {"score_chosen": chosen, "score_rejected": rejected, **more}


def test_published_accuracies_of_subsets_give_the_published_sections(run):
    sections = run({**BEAVER, "model": "beaver"}).table("sections").rows
    found = {name: round(sections[name]["accuracy"].mean, 4) for name in SECTIONS}
    assert found == {"Chat": 0.6089, "Chat Hard": 0.4496, "Safety": 0.7216, "Reasoning": 0.4668}
    assert sections["final (mean of sections)"]["accuracy"].mean == pytest.approx(
        sum(found.values()) / 4, abs=1e-4
    )


def test_math_weighs_984_by_the_published_convention_and_447_by_its_pairs(run):
    published, pairs, early = (run(BEAVER, weights=w) for w in ("published", "pairs", "early"))
    reasoning = [result.table("sections").rows["Reasoning"]["accuracy"].mean for result in (published, pairs)]
    code = 103 + 104 + 116 + 109 + 90 + 106
    assert reasoning == pytest.approx([(984 * 132 / 447 + code) / 1968, (132 + code) / (447 + 984)])
    assert early.table("sections").rows["Safety"]["accuracy"].mean == pytest.approx(0.8145, abs=1e-4)
    assert any("984 in Reasoning, as published" in note for note in published.notes)


def test_a_tie_is_wrong_half_or_left_out_by_name(run):
    row = run([pair(2, 1), pair(1, 1), pair(0, 1), pair([1.0], None)]).table("all").rows["all pairs"]
    assert [row[name].mean for name in (STRICT, HALF, WITHOUT)] == [pytest.approx(1 / 3), 0.5, 0.5]
    assert row[STRICT].excluded == 1 and row[WITHOUT].excluded == 2


def test_an_unread_judge_is_a_state_and_not_half_a_point(run):
    result = run([{"results": 1}, {"results": 0.5}, {"results": 0}])
    assert result.counts == {"scored": 2, "unparsed": 1}
    assert result.table("all").rows["all pairs"][STRICT].mean == 0.5


def test_the_longer_answer_is_a_null_baseline_wherever_texts_are_there(run):
    result = run([pair(1, 0, chosen="long answer", rejected="short"), pair(1, 0, chosen="a", rejected="bb")])
    assert result.baselines.rows["the longer answer (equal: one half)"]["accuracy"].mean == 0.5


def test_subsets_can_be_named_by_a_file_and_missing_pairs_are_counted(run, tmp_path):
    (tmp_path / "names.txt").write_text("hep-go\nhep-go\nmath-prm\n")
    result = run([pair(1, 0), pair(0, 1), pair(1, 0)], subsets=str(tmp_path / "names.txt"))
    assert result.table("sections").rows["Reasoning"][STRICT].mean == pytest.approx(
        (164 * 0.5 + 984) / (164 + 984)
    )
    assert result.counts["missing"] == sum(COUNTS.values()) - 3
    assert "final (mean of sections)" not in result.table("sections").rows
    (tmp_path / "names.txt").write_text("hep-go\n")
    with pytest.raises(DataError, match="subsets of 1 rows, the log has 3"):
        run([pair(1, 0), pair(0, 1), pair(1, 0)], subsets=str(tmp_path / "names.txt"))


@needs_logs
def test_the_damaged_log_is_refused_with_its_byte_range_and_read_only_when_told_so():
    file = LOGS / "reward_bench_results_damaged.json"
    with pytest.raises(DataError, match=r"bytes 0 to 4,095 \(4,096 bytes\) are NUL"):
        run_benchmark(find_benchmark("reward-bench"), [file])
    result = run_benchmark(find_benchmark("reward-bench"), [file], {"damaged": "skip"})
    assert round(100 * result.table("all").rows["all pairs"][STRICT].mean, 2) == 88.56
    assert result.counts == {"scored": 2937, "tied": 1, "missing": 47}
    assert any("2,938 records survive" in note for note in result.notes)
