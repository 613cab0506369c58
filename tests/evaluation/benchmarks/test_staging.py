import pytest

from vlmalign.records import Candidate, Case, DataError, DatasetBuild, ImageRef, Sampling, assistant, user

ROWS = [
    {"id": "1", "patient_id": "p1", "label": "early", "prediction": "Early AMD."},
    {"id": "2", "patient_id": "p1", "label": "early", "prediction": "The stage is intermediate AMD."},
    {"id": "3", "patient_id": "p2", "label": "healthy", "prediction": "healthy"},
    {"id": "4", "patient_id": "p3", "label": "late_wet_active", "prediction": "Invalid response"},
    {"id": "5", "patient_id": "p4", "label": "late wet active", "prediction": "late wet active"},
]  # fmt: skip


@pytest.fixture
def result(write_log, run):
    return run("staging", write_log("stages.jsonl", ROWS))


def test_an_invalid_answer_is_a_miss_of_its_class_and_counted(result, means):
    assert result.counts == {"scored": 4, "invalid": 1}
    found = means(result, "classes")
    assert (found["accuracy"], found["accuracy_all"], found["coverage"]) == (0.75, 0.6, 0.8)
    assert found["micro_f1"] == round(2 * 3 / (4 + 5), 4)
    assert found["micro_f1_positive"] == round(2 * 2 / (3 + 4), 4)  # without healthy
    # healthy 1, early 2/3, intermediate 0, wet 2/3
    assert found["macro_f1"] == round((1 + 2 / 3 + 0 + 2 / 3) / 4, 4)
    assert found["weighted_f1"] == round((1 * 1 + 2 * 2 / 3 + 2 * 2 / 3) / 5, 4)


def test_the_confusion_matrix_has_a_column_for_what_was_not_read(result, means):
    assert means(result, "confusion", "late_wet_active")["unread"] == 0.5
    assert means(result, "confusion", "early") == {
        "healthy": 0.0, "early": 0.5, "intermediate": 0.5, "late_wet_active": 0.0, "unread": 0.0
    }  # fmt: skip
    assert "intermediate" not in result.table("confusion").rows  # never true


def test_the_commonest_stage_is_the_baseline(result, means):
    found = means(result, "baselines", "most frequent (early)")
    assert found["accuracy"] == 0.4 and found["macro_f1"] == round((2 * 2 / 7) / 3, 4)


def test_a_referral_is_read_out_of_a_report(write_log, run, means):
    said = "The stage is late wet active AMD. The referral is urgent."
    rows = [{"id": "1", "referral": "urgent", "prediction": said},
            {"id": "2", "referral": "none", "prediction": "No referral is needed."}]  # fmt: skip
    assert means(run("staging", write_log("r.jsonl", rows), concept="referral"), "classes")["accuracy"] == 1.0


def test_a_case_whose_findings_do_not_tell_the_stage_is_counted_and_not_scored(tmp_path, run, means):
    image = ImageRef(path="images/x.png", sha256="0" * 64)
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        for name, extra in (("c1", {"stage": "early"}), ("c2", {})):
            build.commit(name, [Case(
                id=name, images=(image,), messages=(user("Which stage?", images=1),), domain="amd_oct",
                group_id=name, group_kind="patient", extra=extra,
            )])  # fmt: skip
    with DatasetBuild(tmp_path / "said", "candidate", {}) as build:
        for name in ("c1", "c2"):
            build.commit(name, [Candidate(
                id=f"{name}/0", case_id=name, messages=(assistant("Early AMD."),), policy="p@1", seed=0,
                sampling=Sampling(max_new_tokens=8),
            )])  # fmt: skip
    result = run("staging", tmp_path / "cases", tmp_path / "said")
    assert result.counts == {"scored": 1, "truth_unknown": 1}
    assert means(result, "classes")["accuracy"] == 1.0


def test_a_label_outside_the_set_and_an_unknown_concept_are_refused(write_log, run):
    with pytest.raises(
        DataError, match="record '1', field 'stage': the label is 'stage 9', expected one of healthy"
    ):
        run("staging", write_log("bad.jsonl", [{**ROWS[0], "label": "stage 9"}]))
    with pytest.raises(ValueError, match="grade"):
        run("staging", write_log("bad.jsonl", ROWS), concept="grade")
