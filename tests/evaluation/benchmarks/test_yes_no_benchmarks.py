import pytest

from vlmalign.records import DataError


def questions(labels, start=1):
    return [
        {"question_id": start + k, "image": f"im{k // 2}.jpg", "text": f"Is there a dog in the image? ({k})",
         "label": label}
        for k, label in enumerate(labels)
    ]  # fmt: skip


def answers(said):
    return [{"question": f"Is there a dog in the image? ({k})", "answer": text} for k, text in enumerate(said)]


@pytest.fixture
def pope(write_log, run):
    labels = ["yes", "no", "yes", "no", "yes", "no"]
    said = ["Yes, it is.", "Yes.", "No, it is not.", "no", "I am not sure", "I see grass"]
    more = [{"question_id": 1, "text": "No"}, {"question_id": 2, "text": "No"}]
    return run(
        "pope", write_log("coco_pope_random.jsonl", questions(labels)),
        write_log("answers_random.jsonl", answers(said)),
        write_log("coco_pope_adversarial.json", questions(["yes", "no"])),
        write_log("answers_adversarial.jsonl", more),
    )  # fmt: skip


def test_figures_are_of_answers_that_say_yes_or_no(pope, means):
    # read: TP, FP, FN, TN; adversarial FN, TN. Precision 1/2, recall 1/3, F1 2/5
    assert means(pope, "strict") == {
        "accuracy": 0.5, "accuracy_all": 0.375, "coverage": 0.75, "precision": 0.5, "recall": 0.3333, "f1": 0.4,
        "yes_ratio": 0.3333,
    }  # fmt: skip
    assert pope.counts == {"scored": 6, "unparsed": 2}


def test_the_script_reads_every_answer_and_takes_the_rest_for_a_yes(pope, means):
    # "I am not sure" has a not; "I see grass" is a yes
    found = means(pope, "script", "random")
    assert found["coverage"] == 1.0 and found["accuracy"] == round(2 / 6, 4) and found["yes_ratio"] == 0.5


def test_parts_come_from_file_names_and_ids_may_recur_in_them(pope, means):
    assert list(pope.table("strict").rows) == ["all", "random", "adversarial"]
    assert means(pope, "strict", "adversarial")["accuracy"] == 0.5


def test_always_yes_has_full_recall(pope, means):
    assert means(pope, "baselines", "always yes") == {
        "accuracy": 0.5, "precision": 0.5, "recall": 1.0, "f1": 0.6667
    }  # fmt: skip


def test_answers_in_another_order_or_number_are_refused(write_log, run):
    asked = write_log("q.jsonl", questions(["yes", "no"]))
    with pytest.raises(DataError, match="it has 1 answers without an id, to 2 questions"):
        run("pope", asked, write_log("short.jsonl", answers(["Yes"])))
    with pytest.raises(DataError, match="answer 1 is to 'Is there a dog in the image. .1.'"):
        run("pope", asked, write_log("turned.jsonl", answers(["Yes", "No"])[::-1]))


def figure(figure_id, question_id, gt, said, category="VS", **more):
    return {
        "category": category, "subcategory": "chart", "set_id": "0", "figure_id": str(figure_id),
        "question_id": str(question_id), "gt_answer": gt, "question": "?", "model_prediction": said, **more,
    }  # fmt: skip


def test_hallusionbench_counts_questions_and_figures_whole(write_log, run, means):
    log = [
        figure(0, 0, "1", "Yes"), figure(1, 0, "1", "Yes."), figure(2, 0, "0", "Yes, it grows"),
        figure(0, 1, "0", "No"), figure(1, 1, "0", "No"), figure(2, 1, "1", "It may be"),
    ]  # fmt: skip
    result = run("hallusionbench", write_log("log.json", log))
    assert means(result, "strict", "answers") == {"accuracy": 0.8, "accuracy_all": 0.6667, "coverage": 0.8333}
    # question 0 has a wrong answer; question 1 is open. Figure 1 is right, figure 2 wrong; figure 0 shows nothing
    assert means(result, "strict", "questions") == {"accuracy": 0.0, "accuracy_all": 0.0, "coverage": 0.5}
    assert means(result, "strict", "figures")["accuracy"] == 0.5
    assert means(result, "baselines", "always yes")["accuracy"] == 0.5


def test_a_judges_unclear_is_unread_and_stands_beside(write_log, run, means):
    log = [figure(k, 0, "1", "It rises.", gpt4v_output_gpt_check=verdict) for k, verdict in enumerate("0112")]
    result = run("hallusionbench", write_log("log.json", log))
    assert result.counts == {"unparsed": 4}
    assert means(result, "judged", "answers") == {"accuracy": 0.6667, "accuracy_all": 0.5, "coverage": 0.75}
    with pytest.raises(DataError, match="gt_answer is '3', expected 0 or 1"):
        run("hallusionbench", write_log("bad.json", [figure(0, 0, "3", "Yes"), figure(1, 0, "1", "Yes")]))
