"""Two models, each with its own prompt."""

import csv

import pytest

from vlmalign.evaluation.prompt_scores import PromptRow, compare_prompts, read_prompt_rows
from vlmalign.records import DataError

N = 40


def rows(model, prompt, validation, test, task="vqa"):
    """`validation` of ten validation items right, `test` of N test items."""
    found = [
        PromptRow(task, model, prompt, "validation", f"v{k}", f"v{k}", float(k < validation)) for k in range(10)
    ]
    return found + [PromptRow(task, model, prompt, "test", f"t{k}", f"t{k}", float(k < test)) for k in range(N)]


TUNED = [*rows("a", "long", 9, 30), *rows("a", "short", 1, 5)]
BASE = [*rows("b", "long", 2, 5), *rows("b", "short", 8, 30)]


def test_a_prompt_for_one_model_alone_makes_a_win_of_what_is_a_tie():
    found = compare_prompts(TUNED + BASE)
    task = found["tasks"]["vqa"]
    assert found["models"] == ["a", "b"] and task["prompts"] == ("long", "short")
    assert (task["outcome"], task["one_prompt"]) == ("tie", "win")
    assert task["items"] == {"validation": 10, "test": N} and task["prompts_tried"] == [2, 2]
    spread = task["prompt_spread"]["a"]
    assert (spread["best"], spread["worst"]) == ("long", "short")
    assert spread["difference"]["mean"] == pytest.approx(25 / N)


def test_test_scores_have_no_say_in_the_choice():
    turned = [row._replace(score=1 - row.score) if row.split == "test" else row for row in TUNED + BASE]
    assert compare_prompts(turned)["tasks"]["vqa"]["prompts"] == ("long", "short")


def test_the_models_are_taken_in_the_order_that_was_asked_for():
    found = compare_prompts([*TUNED, *BASE, *rows("c", "p", 1, 0)], ("c", "b"))
    assert found["models"] == ["c", "b"] and found["tested"]["loss"] == 1
    with pytest.raises(ValueError, match="of 3 models"):
        compare_prompts([*TUNED, *BASE, *rows("c", "p", 1, 0)])
    with pytest.raises(ValueError, match="unknown model 'd'"):
        compare_prompts(TUNED + BASE, ("a", "d"))


def test_an_unscored_item_is_excluded_and_counted():
    given = [row._replace(score=None) if row.item == "t0" and row.model == "a" else row for row in TUNED + BASE]
    difference = compare_prompts(given)["tasks"]["vqa"]["difference"]
    assert (difference["n"], difference["excluded"]) == (N - 1, 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: [*r, r[0]], "is scored twice"),
        (lambda r: r[1:], "1 of 10 validation items have no line, e.g. 'v0'"),
        (
            lambda r: [x._replace(item="v0", group="v0") if x.item == "t0" else x for x in r],
            "among validation and test",
        ),
        (lambda r: [x._replace(group="v0") if x.item == "t0" else x for x in r], "keep each patient on one side"),
        (lambda r: [x for x in r if (x.model, x.prompt, x.split) != ("a", "long", "test")], "has no test score"),
        (lambda r: [x for x in r if x.split == "test"], "no validation score"),
        (lambda r: [*r, *rows("a", "p", 1, 1, task="other")], "has no score of 'b'"),
        (lambda r: [*r[:-1], r[-1]._replace(group="x")], "is of two groups"),
    ],
)
def test_scores_that_would_mislead_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        compare_prompts(change(TUNED + BASE))


def test_a_table_is_read_and_its_mistakes_told_by_line_and_column(tmp_path):
    path = tmp_path / "t.csv"
    fields = [name for name in PromptRow._fields if name != "group"]

    def write(*lines):
        with open(path, "w", newline="") as file:
            table = csv.writer(file)
            table.writerows(lines)

    write(fields, ["vqa", "a", "p", "test", "i", ""])
    assert read_prompt_rows(path) == [PromptRow("vqa", "a", "p", "test", "i", "i", None)]
    for split, task, score, told in (
        ("train", "vqa", "1", "field 'split'"), ("test", "", "1", "empty"),
        ("test", "vqa", "nan", ":2, field 'score'"),
    ):  # fmt: skip
        line = [task, "a", "p", split, "i", score]
        write(fields, line)
        with pytest.raises(DataError, match=told):
            read_prompt_rows(path)
    write(fields[:-1], ["x"])
    with pytest.raises(DataError, match="the column score is missing"):
        read_prompt_rows(path)
