"""Published questions, answered by `vlmalign generate`, graded by `vlmalign score`: folders instead of logs."""

import pytest

from vlmalign.records import Candidate, DataError, DatasetBuild, Judgement, Sampling, assistant

QUESTIONS = {
    "pope": [{"question_id": k, "text": "Is there a dog?", "label": "yes", "image": f"{k}.jpg"} for k in (1, 2)],
    "mmbench": [{"index": k, "A": "yes", "B": "no", "answer": "A", "category": "x"} for k in (1, 2)],
    "vqa-rad": [
        {"qid": k, "image_name": k, "question": "q", "answer": "yes", "answer_type": "CLOSED"} for k in (1, 2)
    ],
    "slake": [{"qid": k, "img_name": k, "question": "q", "answer": "yes", "q_lang": "en"} for k in (1, 2)],
    "path-vqa": [{"id": k, "image": k, "question": "q", "answer": "yes"} for k in (1, 2)],
    "scienceqa": [{"id": k, "choices": ["yes", "no"], "answer": 0} for k in (1, 2)],
    "chair": [{"image_id": k, "objects": ["yes"]} for k in (1, 2)],
    "staging": [{"id": k, "label": "early"} for k in (1, 2)],
    "report-findings": [{"id": k, "reference": "Cardiomegaly."} for k in (1, 2)],
    "calibration": [{"id": k, "label": "yes"} for k in (1, 2)],
}
SAID = {"staging": "early", "report-findings": "Cardiomegaly."}
FIGURE = {
    "pope": ("strict", "accuracy_all"), "mmbench": ("vanilla", "first_accuracy_all"),
    "vqa-rad": ("answers", "closed_exact"), "slake": ("answers", "closed_exact"),
    "path-vqa": ("answers", "closed_exact"), "scienceqa": ("strict", "accuracy_all"),
    "chair": ("hallucination", "coverage"), "staging": ("classes", "accuracy_all"),
    "report-findings": ("findings", "micro_f1"), "calibration": ("calibration", "accuracy"),
}  # fmt: skip


def answers(out, text, cases=("1", "2")):
    with DatasetBuild(out, "candidate", {}) as build:
        for case in cases:
            build.commit(case, [Candidate(
                id=f"{case}/0", case_id=case, messages=(assistant(text),), policy="p@1", seed=0,
                sampling=Sampling(max_new_tokens=9),
            )])  # fmt: skip
    return out


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_folder_of_candidates_answers_the_published_questions(run, write_log, tmp_path, name):
    said = SAID.get(name, "yes") + ("\nConfidence: 9" if name == "calibration" else "")
    found = run(name, write_log("questions.jsonl", QUESTIONS[name]), answers(tmp_path / "answers", said))
    table, column = FIGURE[name]
    figure = found.table(table).rows["all"][column]
    assert (figure.mean, figure.n) == (1.0, 2), found.to_dict()
    half = run(name, tmp_path / "questions.jsonl", answers(tmp_path / "half", said, ["1"]))
    assert half.counts["missing"] == 1
    with pytest.raises(DataError):
        run(name, tmp_path / "questions.jsonl", answers(tmp_path / "foreign", said, ["1", "7"]))


def grades(out, scores, other=False):
    with DatasetBuild(out, "judgement", {}) as build:
        for k, value in enumerate(scores):
            why = {"valid": False, "invalid_reason": "unparsed: x"} if value is None else {}
            build.commit(str(k), [Judgement(
                id=f"j{k}", case_id=f"v{k % 2}", candidate_ids=(f"v{k % 2}/{k if other else 0}",), score=value,
                criterion="x", judge="j@1", **why)])  # fmt: skip
    return out


def test_mm_vet_takes_judgements_as_grades_and_several_as_runs(run, write_log, tmp_path, means):
    asked = write_log("q.json", {f"v{k}": {"capability": ["rec"]} for k in (0, 1)})
    found = run("mm-vet", asked, grades(tmp_path / "one", [0.5, None]))
    assert means(found, "overall")["score"] == 0.5 and found.counts == {"scored": 1, "ungraded": 1}
    found = means(run("mm-vet", asked, grades(tmp_path / "two", [0.5, 1.0, 0.3, 0.8])), "overall")
    assert (found["run_1"], found["run_2"], found["judge_run_std"]) == (0.75, 0.55, 0.1)
    with pytest.raises(DataError, match="of another answer to the case"):
        run("mm-vet", asked, grades(tmp_path / "more", [0.5, 1.0, 0.3, 0.8], other=True))
    with pytest.raises(DataError, match="expected a number from 0 to 1"):
        run("mm-vet", asked, grades(tmp_path / "seven", [7, 0.5]))
