import pytest

from vlmalign.records import DataError

PROBLEMS = {
    "1": {"choices": ["west", "east"], "answer": 1, "subject": "social science", "grade": "grade2", "hint": "",
          "image": "image.png", "split": "test"},
    "2": {"choices": ["a gas", "a solid", "a liquid"], "answer": 0, "subject": "natural science",
          "grade": "grade8", "hint": "Read.", "image": None, "split": "test"},
    "3": {"choices": ["yes", "no"], "answer": 0, "subject": "language science", "grade": "grade7", "hint": "",
          "image": None, "split": "test"},
    "4": {"choices": ["x", "y"], "answer": 0, "subject": "natural science", "grade": "grade1", "hint": "",
          "image": "image.png", "split": "train"},
}  # fmt: skip


@pytest.fixture
def files(write_log):
    said = [{"question_id": "1", "text": "(B) east"}, {"question_id": "2", "text": "The answer is A."},
            {"question_id": "3", "text": "Hard to say"}, {"question_id": "4", "text": "x"}]  # fmt: skip
    return write_log("problems.json", PROBLEMS), write_log("answers.jsonl", said)


def test_each_reader_has_its_figures_by_subject_context_and_grade(files, run, means):
    result = run("scienceqa", *files, split="test")
    assert means(result, "strict") == {"accuracy": 1.0, "accuracy_all": 0.6667, "coverage": 0.6667}
    assert means(result, "script") == {"accuracy_all": 0.3333}  # "(B) east" is not read there
    assert list(result.table("strict").rows) == ["all", "NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12"]
    assert result.table("strict").rows["G7-12"]["accuracy_all"].mean == 0.5


def test_the_text_of_an_option_is_read_and_all_images_named_alike_are_not_one_cluster(files, run):
    result = run("scienceqa", *files)
    assert result.counts == {"scored": 3, "unparsed": 1}
    assert result.table("strict").rows["IMG"]["accuracy"].n_groups == 2


def test_indices_of_the_published_outputs_are_read_with_minus_one_for_none(write_log, run, means):
    outputs = {"acc": 50.0, "outputs": {"1": 1, "2": 2, "3": -1, "4": 0}}
    result = run("scienceqa", write_log("problems.json", PROBLEMS), write_log("outputs.json", outputs))
    assert means(result, "strict")["accuracy"] == 0.6667 and result.counts == {"scored": 3, "unparsed": 1}


def test_the_first_option_is_a_baseline_by_default(files, run, means):
    result = run("scienceqa", *files)
    assert means(result, "baselines", "first option") == {"accuracy": 0.75}
    assert means(result, "baselines", "most frequent (A)") == {"accuracy": 0.75}


def test_an_answer_to_no_question_is_refused(write_log, run):
    said = write_log("answers.jsonl", [{"question_id": "9", "text": "A"}])
    with pytest.raises(DataError, match="record '9': it answers no question that was given"):
        run("scienceqa", write_log("problems.json", PROBLEMS), said)
