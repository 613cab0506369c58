import pytest

from vlmalign.evaluation.benchmarks.published import VL_REWARDBENCH
from vlmalign.evaluation.table_lint import PRESETS, Order, Rule, lint_row, lint_table
from vlmalign.records import DataError


@pytest.fixture
def published(tmp_path):
    file = tmp_path / "table.csv"
    lines = ["model,General,Hallucination,Reasoning,Overall,Macro"]
    lines += [",".join([name, *map(str, row.values())]) for name, row in VL_REWARDBENCH.items()]
    file.write_text("\n".join(lines))
    return file


def test_of_the_published_rows_llava_critics_alone_cannot_be(published):
    found = lint_table(published)
    assert len(found) == 34
    impossible = {finding.row for finding in found if finding.verdict == "impossible"}
    assert impossible == {"LLaVA-Critic-8B"}
    [overall] = [f for f in found if f.row == "LLaVA-Critic-8B" and f.column == "overall"]
    assert overall.verdict != "ok" and round(overall.expected, 1) == 46.0


def test_rounding_is_no_mistake_and_a_digit_beyond_it_is():
    rule = (Rule("macro", {"a": 1, "b": 1}),)
    [fine] = lint_row({"a": "50.0", "b": "60.0", "macro": "55.1"}, rule)
    [wrong] = lint_row({"a": "50.0", "b": "60.0", "macro": "55.2"}, rule)
    assert (fine.verdict, wrong.verdict) == ("ok", "impossible")


def test_a_whole_outside_of_all_its_parts_is_impossible_whatever_was_left_out():
    rule = (Rule("overall", {"a": 1, "b": 9}, slack=3.0),)
    verdicts = [
        lint_row({"a": "40.0", "b": "60.0", "overall": x}, rule)[0].verdict for x in ("56.0", "50.0", "64.0")
    ]
    assert verdicts == ["ok", "differs", "impossible"]


def test_accuracy_with_ties_wrong_cannot_exceed_accuracy_without_them():
    [found] = lint_row({"w": "52.1", "wo": "31.6"}, (Order("w", "wo"),))
    assert found.verdict == "impossible"


def test_the_recovered_weights_of_mj_bench_give_its_overall_score():
    row = {"alignment": "61.5", "safety": "35.3", "quality": "97.6", "bias_acc": "65.8", "overall": "70.88"}
    [found] = lint_row(row, PRESETS["mj-bench"])
    assert found.verdict == "ok" and abs(found.expected - 70.88) < 0.01


def test_a_missing_number_is_unknown_and_not_zero():
    [found] = lint_row({"a": "", "b": "60.0", "macro": "55.1"}, (Rule("macro", {"a": 1, "b": 1}),))
    assert found.verdict == "unknown"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"m,x,y\na,1,2\n", "no rule fits its columns"),
        (b"m,general\na,1,2\n", ":2: it has 3 cells, the header 2"),
        (b"m,general\n", "no row below a header"),
        (b"m,\0\0\na,1", "bytes 2 to 3 are NUL"),
        (b"m,Macro,macro\na,1,2\n", "there twice"),
    ],
)
def test_a_table_that_cannot_be_checked_says_why(tmp_path, data, told):
    file = tmp_path / "t.csv"
    file.write_bytes(data)
    with pytest.raises(DataError, match=told):
        lint_table(file)
