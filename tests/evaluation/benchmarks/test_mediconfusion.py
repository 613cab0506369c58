import pytest

from vlmalign.records import DataError

QUESTIONS = {
    str(10000 + k): {
        "im_1": f"im{k}a.jpg", "im_2": f"im{k}b.jpg", "category_1": ["Spinal"],
        "category_2": ["Spinal", "Cerebral"],
        "question": "?", "option_A": "x", "option_B": "y", "im_1_correct": "A", "im_2_correct": "B",
    }
    for k in range(1, 6)
}  # fmt: skip


def answers(**said):
    """`p1=("A", "B")`: texts, with the scores that the published multiple-choice reader gives them."""

    def entry(text):
        words = text.split(" ")
        both = {"A", "B"} <= set(words)
        return {"full_answer": text, **{x: 10 if x in words and not both else 0 for x in "AB"}}

    return {
        str(10000 + int(name[1:])): {"answer": {"im1": entry(one), "im2": entry(other)}, "score": {}}
        for name, (one, other) in said.items()
    }


@pytest.fixture
def result(write_log, run):
    log = answers(p1=("A", "B"), p2=("A", "A"), p3=("(A)", "(B)"), p4=("B", "A"), p5=("A cyst is seen", "B"))
    return run("mediconfusion", write_log("dataset.json", QUESTIONS), write_log("result.json", log))


def test_their_convention_takes_confusion_of_valid_pairs_and_an_article_for_an_option(result, means):
    # their reader: p3 is invalid twice; p5's article is option A. Sets: p1, p5. Individual: 2 + 1 + 0 + 0 + 2
    assert means(result, "theirs") == {
        "set": 0.4, "individual": 0.5, "confusion": 0.25, "invalid": 0.2, "precision": round(2 / 3, 4)
    }  # fmt: skip


def test_our_convention_takes_all_pairs_and_reads_brackets(result, means):
    # our reader: p5's first answer is invalid. Sets: p1, p3. Individual: 2 + 1 + 2 + 0 + 1. Apart: p1, p3, p4
    assert means(result, "ours") == {
        "set": 0.4, "individual": 0.6, "confusion": 0.2, "invalid": 0.1, "precision": round(2 / 3, 4),
        "undistinguished": 0.4,
    }  # fmt: skip


def test_an_evasive_model_is_not_less_confused_in_our_denominator(write_log, run, means):
    log = answers(p1=("A", "A"), p2=("I see", "it"), p3=("I see", "it"), p4=("I see", "it"), p5=("I see", "it"))
    result = run("mediconfusion", write_log("dataset.json", QUESTIONS), write_log("result.json", log))
    assert means(result, "theirs")["confusion"] == 1.0
    assert means(result, "ours")["confusion"] == 0.2 and means(result, "ours")["undistinguished"] == 1.0
    assert result.counts == {"scored": 2, "unparsed": 8}


def test_one_option_for_all_is_right_half_the_time_and_never_for_a_pair(result, means):
    found = means(result, "baselines", "always A")
    assert (found["set"], found["individual"], found["confusion"]) == (0.0, 0.5, 1.0)


def test_a_judges_scores_choose_only_across_the_gap(write_log, run, means):
    scores = {"10001": {"answer": {"im1": {"A": 7, "B": 4}, "im2": {"A": 5, "B": 6}}}}
    files = write_log("dataset.json", {"10001": QUESTIONS["10001"]}), write_log("result.json", scores)
    assert means(run("mediconfusion", *files), "ours")["invalid"] == 0.5
    assert means(run("mediconfusion", *files, gap=1), "ours")["set"] == 1.0


def test_pairs_that_share_an_image_are_not_taken_for_independent(write_log, run):
    shared = {name: {**row, "im_2": "same.jpg"} for name, row in QUESTIONS.items()}
    log = answers(p1=("A", "B"), p2=("A", "A"), p3=("A", "B"), p4=("B", "A"), p5=("B", "B"))
    found = run("mediconfusion", write_log("dataset.json", shared), write_log("result.json", log))
    assert found.table("ours").rows["all"]["set"].n_groups == 6
    assert found.table("ours").rows["all"]["set"].method.startswith("dyadic")


def test_rows_of_one_image_each_make_pairs_and_half_a_pair_is_refused(write_log, run, means):
    rows = [{"id": f"p/{k}", "pair": "p", "image": f"{k}.png", "correct": x, "prediction": x} for k, x in
            enumerate("AB")]  # fmt: skip
    assert means(run("mediconfusion", write_log("rows.jsonl", rows)), "ours")["set"] == 1.0
    with pytest.raises(DataError, match="record 'p': the pair has 1 images"):
        run("mediconfusion", write_log("half.jsonl", rows[:1]))


def test_a_score_that_is_no_number_names_its_file_and_pair_and_missing_pairs_are_told(write_log, run, result):
    assert any("has 176 pairs, these files 5" in note for note in result.notes)
    log = {"10001": {"answer": {"im1": {"A": "high", "B": 1}, "im2": {"A": 1, "B": 9}}, "score": {}}}
    with pytest.raises(DataError, match=r"dataset.json.*10001"):
        run("mediconfusion", write_log("dataset.json", QUESTIONS), write_log("result.json", log))
