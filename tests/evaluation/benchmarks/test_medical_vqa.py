import pytest

from vlmalign.evaluation.benchmarks.answer_words import normalise, word_f1, word_recall
from vlmalign.records import Case, DataError, DatasetBuild, ImageRef, Reference, assistant, user
from vlmalign.records.candidate import Candidate, Sampling


def row(k, answer, said, kind="", image="a.jpg", **more):
    return {"qid": k, "image_name": image, "question": "?", "answer": answer, "answer_type": kind,
            "prediction": said, **more}  # fmt: skip


def test_closed_answers_are_equal_after_normalisation_or_read_out_of_a_sentence(write_log, run, means):
    log = write_log("rad.json", [
        row(1, "Yes", "yes.", "CLOSED "), row(2, "No", "No, the heart is normal", "CLOSED"),
        row(3, "axial", "The axial", "CLOSED"), row(4, "No", None, "CLOSED", "b.jpg"),
    ])  # fmt: skip
    result = run("vqa-rad", log)
    assert result.counts == {"scored": 3, "missing": 1}
    found = means(result, "answers")
    assert (found["closed_exact"], found["closed_exact_all"]) == (0.6667, 0.5)
    assert (found["closed_read"], found["closed_read_all"]) == (1.0, 0.75)
    assert result.table("answers").rows["all"]["closed_exact"].excluded == 1


def test_open_answers_have_exact_recall_and_f1(write_log, run, means):
    log = write_log("rad.json", [row(1, "right lower lobe", "It lies in the lower lobe", "OPEN"),
                                 row(2, "cyst", "Cyst", "OPEN")])  # fmt: skip
    found = means(run("vqa-rad", log), "answers")
    # recall 2/3 and 1; F1 2 * 2 / (3 + 5) and 1
    assert (found["open_exact"], found["open_recall"], found["open_f1"]) == (0.5, 0.8333, 0.75)
    assert found["pooled_exact"] == 0.5 and found["closed_exact"] is None


def test_a_long_answer_raises_recall_but_not_f1():
    assert word_recall("left lung", "left right upper lower lung heart") == 1.0
    assert word_f1("left lung", "left right upper lower lung heart") == pytest.approx(2 * 2 / 8)
    assert word_f1("left left", "left") == pytest.approx(2 / 3) and word_recall("", "x") is None


@pytest.mark.parametrize(
    ("text", "words"), [("A mass, of 1.5 cm.", "mass of 1.5 cm"), ("T2-weighted", "t2 weighted"), ("3,5", "3,5")]
)
def test_normalisation_keeps_numbers_whole(text, words):
    assert normalise(text) == words


def test_slake_is_scored_in_one_language_and_path_vqa_closes_yes_and_no(write_log, run):
    both = [row(1, "Yes", "Yes", "CLOSED", q_lang="en"), row(2, "是", "是", "CLOSED", q_lang="zh")]
    english = run("slake", write_log("slake.json", both))
    assert english.counts == {"scored": 1, "other_language": 1}
    assert english.table("answers").rows["all"]["closed_exact"].excluded == 0
    assert any("1 questions are in another language" in note for note in english.notes)
    with pytest.raises(DataError, match="no item with language=fr"):
        run("slake", write_log("slake.json", both), language="fr")
    assert run("slake", write_log("slake.json", both), language="all").counts == {"scored": 2}
    path = [row(1, "no", "no"), row(2, "tumour", "tumour")]
    columns = run("path-vqa", write_log("path.jsonl", path)).table("answers").rows["all"]
    assert (columns["closed_exact"].n, columns["open_exact"].n) == (1, 1)


def test_the_commonest_answers_are_the_baseline(write_log, run, means):
    log = write_log("rad.json", [row(k, a, "x", "CLOSED") for k, a in enumerate(["Yes", "Yes", "No"])])
    result = run("vqa-rad", log)
    assert means(result, "baselines", "most frequent (yes)")["closed_exact"] == 0.6667
    assert means(result, "baselines", "always no")["closed_exact"] == 0.3333


def test_our_folders_of_cases_and_candidates_are_read_and_clustered_by_group(tmp_path, run, means):
    image = ImageRef(path="images/x.png", sha256="0" * 64)
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        for name, truth, group in (("c1", "Yes", "p1"), ("c2", "No", "p1"), ("c3", "No", "p2")):
            build.commit(name, [Case(
                id=name, images=(image,), messages=(user("Is it?", images=1),), domain="chest_xray",
                group_id=group, group_kind="patient", reference=Reference(text=truth),
                extra={"answer_type": "CLOSED"},
            )])  # fmt: skip
    with DatasetBuild(tmp_path / "said", "candidate", {}) as build:
        for name, text, sample in (("c1", "Yes", 0), ("c2", "Yes", 0), ("c2", "No", 1)):
            build.commit(f"{name}-{sample}", [Candidate(
                id=f"{name}/{sample}", case_id=name, messages=(assistant(text),), policy="p@1", seed=0,
                sampling=Sampling(max_new_tokens=8, sample=sample),
            )])  # fmt: skip
    result = run("vqa-rad", tmp_path / "cases", tmp_path / "said")
    assert result.counts == {"scored": 2, "missing": 1}
    assert means(result, "answers")["closed_exact"] == 0.5
    assert result.table("answers").rows["all"]["closed_exact_all"].n_groups == 2


def test_a_kind_of_question_outside_the_set_is_refused(write_log, run):
    with pytest.raises(DataError, match="answer_type is 'CLOSE', expected CLOSED or OPEN"):
        run("vqa-rad", write_log("rad.json", [row(1, "Yes", "yes", "OPEN"), row(2, "No", "no", "CLOSE")]))
