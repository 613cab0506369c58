import pytest

from vlmalign.evaluation.benchmarks import find_benchmark
from vlmalign.records import DataError

MILLION = 1_000_000


def rotations(index, said, *, category="shape", first="A", options=("red", "blue")):
    """Rows of a question of two options; the right one is `first` in the first rotation."""
    n = len(options)
    right = "ABCD".index(first)
    return [
        {
            "index": index + k * MILLION, "question": "Which colour?", "category": category,
            "l2-category": "seeing", "split": "dev", "answer": "ABCD"[(right + k) % n], "prediction": said[k],
            **{letter: options[(j - k) % n] for j, letter in enumerate("ABCD"[:n])},
        }
        for k in range(len(said))
    ]  # fmt: skip


@pytest.fixture
def log(write_log):
    return write_log(
        "mmbench.tsv",
        [
            *rotations(1, ["A", "B"]),  # right under both
            *rotations(2, ["A", "A"]),  # always A: right once
            *rotations(3, ["A", "no idea"]),  # open
            *rotations(4, ["no idea", "A"]),  # the second is wrong: settled
            *rotations(5, ["A"]),  # the second rotation is missing: open
            *rotations(6, ["C"], category="logic", first="C", options=("red", "blue", "both A and B")),
        ],
    )


def test_a_question_is_right_only_under_every_rotation(log, run, means):
    # settled: 1 and 6 right, 2 and 4 wrong; 3 and 5 are open
    assert means(run("mmbench", log), "circular") == {
        "accuracy": 0.5, "accuracy_all": round(2 / 6, 4), "coverage": round(4 / 6, 4)
    }  # fmt: skip


def test_the_vanilla_figures_stand_beside(log, run, means):
    found = means(run("mmbench", log), "vanilla")
    # first rotations: 1, 2, 3, 5, 6 right, 4 unread; all rows: A B | A A | A - | - A | A | C -> 6 of 8 read
    assert found["first_accuracy"] == 1.0 and found["first_accuracy_all"] == round(5 / 6, 4)
    assert found["every_accuracy"] == round(6 / 8, 4) and found["every_accuracy_all"] == 0.6


def test_options_that_speak_of_labels_need_one_rotation_only(log, run, means):
    assert means(run("mmbench", log), "circular", "logic")["accuracy"] == 1.0


def test_always_the_first_option_is_right_once_but_not_under_rotation(log, run, means):
    found = means(run("mmbench", log), "baselines", "first option")
    # questions 1 to 4 are right first and wrong then; 5 has one rotation of two: open; 6 is wrong
    assert found["circular"] == 0.0 and found["every_accuracy"] == 0.5


def test_unresolved_rows_are_counted_with_what_a_guess_would_have_added(log, run):
    result = run("mmbench", log)
    assert result.counts == {"scored": 8, "unparsed": 2}
    assert "expected to be right 1.0 times" in " ".join(result.notes)


def test_intervals_are_over_questions_not_rows(log, run):
    rows = run("mmbench", log).table("vanilla").rows["all"]
    assert rows["every_accuracy_all"].n == 10 and rows["every_accuracy_all"].n_groups == 6


def test_an_answer_outside_the_options_is_refused_with_its_row(write_log, run):
    rows = rotations(7, ["A"])
    rows[0]["answer"] = "D"
    with pytest.raises(DataError, match="record '7', field 'answer': the answer is 'D', the options are A, B"):
        run("mmbench", write_log("bad.tsv", rows))


def test_the_extraction_may_be_ours(write_log, run):
    log = write_log("strict.tsv", rotations(1, ["(A) is right, as the image shows it clearly", "b"]))
    assert run("mmbench", log).counts == {"unparsed": 2}
    assert run("mmbench", log, extraction="strict").counts == {"scored": 2}
    with pytest.raises(ValueError, match="extraction is 'guess', expected one of ladder, strict"):
        run("mmbench", log, extraction="guess")
    assert find_benchmark("mmbench").options["extraction"].default == "ladder"
