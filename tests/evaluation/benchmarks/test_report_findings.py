import sys
from types import SimpleNamespace

import pytest

from vlmalign.evaluation.benchmarks.finding_states import states_of_answers
from vlmalign.evaluation.benchmarks.text_metrics import text_metrics
from vlmalign.records import DataError

ROWS = [
    {"id": "1", "patient_id": "p1", "reference": "There is cardiomegaly. There is a pleural effusion.",
     "prediction": "There is cardiomegaly. There is no pleural effusion. There is edema."},
    {"id": "2", "patient_id": "p1", "reference": "Possible pneumonia.", "prediction": "There is pneumonia."},
    {"id": "3", "patient_id": "p2", "reference": "No pneumothorax.", "prediction": "Blue is the sky."},
    {"id": "4", "patient_id": "p3", "reference": "There is edema.", "prediction": None},
]  # fmt: skip


@pytest.fixture
def log(write_log):
    return write_log("reports.jsonl", ROWS)


def test_f1_pools_the_fourteen_findings(log, run, means):
    found = means(run("report-findings", log), "findings")
    # true: cardiomegaly, pneumonia; said too much: edema; missed: effusion, and no finding of the third
    assert found["micro_f1"] == round(2 * 2 / (3 + 4), 4)
    assert found["micro_precision"] == round(2 / 3, 4) and found["micro_recall"] == 0.5
    # cardiomegaly 1, pneumonia 1, edema 0, effusion 0, no finding 0
    assert found["macro_f1"] == 0.4
    assert found["micro_f1_of_5"] == 0.5


def test_missing_reports_are_excluded_and_those_that_say_nothing_miss_all(log, run):
    result = run("report-findings", log)
    assert result.counts == {"scored": 2, "nothing_read": 1, "missing": 1}
    assert result.table("findings").rows["all"]["micro_f1"].excluded == 1
    assert result.table("findings").rows["all"]["micro_f1"].n_groups == 2


@pytest.mark.parametrize(
    ("uncertain", "f1"), [("positive", 4 / 7), ("negative", 2 * 1 / (3 + 3)), ("exclude", 2 * 1 / (2 + 3))]
)
def test_the_handling_of_uncertain_is_named_and_changes_the_figure(log, run, means, uncertain, f1):
    result = run("report-findings", log, uncertain=uncertain)
    assert means(result, "findings")["micro_f1"] == round(f1, 4)
    assert f"uncertain counts as {uncertain}" in result.table("findings").note


def test_blank_references_may_be_left_out(log, run, means):
    # of the reference that has edema blank, the report's edema is not scored then
    assert means(run("report-findings", log, blank="exclude"), "findings")["micro_precision"] == 1.0


def test_chexperts_columns_are_truth(write_log, run, means):
    rows = [{"id": "1", "prediction": "There is edema. No pneumothorax.", "Edema": "1.0", "Pneumothorax": "-1.0",
             "Cardiomegaly": "", "No Finding": ""}]  # fmt: skip
    found = means(run("report-findings", write_log("labels.csv", rows)), "findings")
    assert (found["micro_precision"], found["micro_recall"]) == (1.0, 0.5)
    with pytest.raises(
        DataError, match="record '1', field 'Edema': the cell is '2', expected 1, 0, -1 or nothing"
    ):
        run("report-findings", write_log("bad.csv", [{**rows[0], "Edema": "2"}]))


def test_nothing_acute_alone_is_no_finding_but_not_beside_a_finding(write_log, run, means):
    rows = [{"id": "1", "reference": "No acute cardiopulmonary abnormality.", "prediction": "No active disease."},
            {"id": "2", "reference": "There is edema.",
             "prediction": "No acute process. There is edema."}]  # fmt: skip
    result = run("report-findings", write_log("r.jsonl", rows))
    assert means(result, "findings")["micro_f1"] == 1.0 and result.counts == {"scored": 2}


def test_no_finding_follows_unless_something_is_or_may_be_there():
    assert states_of_answers({"edema": "absent"})["no_finding"] == "positive"
    assert states_of_answers({"edema": "uncertain"})["no_finding"] == "negative"
    assert states_of_answers({"support_devices": "present"})["no_finding"] == "positive"
    assert states_of_answers({})["no_finding"] == "blank"


def test_a_report_that_contradicts_itself_is_wrong_either_way(write_log, run, means):
    said = "There is edema. There is no edema."
    rows = [{"id": "1", "reference": "There is edema.", "prediction": said},
            {"id": "2", "reference": "There is no edema. There is a fracture.", "prediction": said}]  # fmt: skip
    row = run("report-findings", write_log("r.jsonl", rows)).table("each").rows["Edema"]
    assert (row["recall"].mean, row["precision"].mean) == (0.0, 0.0)


def test_constant_reports_are_the_baseline(log, run, means):
    result = run("report-findings", log)
    # three reports are scored; one is without findings
    assert means(result, "baselines", "always normal")["micro_precision"] == round(1 / 3, 4)
    assert means(result, "baselines", "everything")["micro_recall"] == 0.75


def test_text_metrics_name_the_extra_that_has_them(log, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "radeval", None)
    with pytest.raises(ImportError, match=r"'radgraph' needs radeval.*pip install 'vlmalign\[metrics\]'"):
        run("report-findings", log, metrics="radgraph")
    with pytest.raises(ValueError, match="unknown text metric 'rogue'. Did you mean 'rouge'"):
        run("report-findings", log, metrics="rogue")


def test_bleu_and_rouge_of_equal_texts_are_one(write_log, run, means):
    pytest.importorskip("sacrebleu", reason="sacrebleu (metrics extra) is not installed")
    pytest.importorskip("rouge_score", reason="rouge-score (metrics extra) is not installed")
    text = "There is a small left pleural effusion."
    rows = [
        {"id": "1", "reference": text, "prediction": text},
        {"id": "2", "reference": text, "prediction": "Blue"},
    ]
    found = means(run("report-findings", write_log("r.jsonl", rows), metrics="bleu, rouge"), "texts")
    assert found == {"bleu": 0.5, "rouge": 0.5}


def test_radevals_values_per_report_are_averaged(monkeypatch):
    class FakeRadEval:
        def __init__(self, metrics, per_sample):
            assert (metrics, per_sample) == (["radgraph"], True)

        def __call__(self, refs, hyps):
            return {"radgraph_partial": [float(a == b) for a, b in zip(refs, hyps, strict=True)]}

    monkeypatch.setitem(sys.modules, "radeval", SimpleNamespace(RadEval=FakeRadEval))
    found = text_metrics("radgraph", [("a", "a", "p"), ("b", "a", "q"), ("c", None, "r")], excluded=2)
    assert (found["radgraph"].mean, found["radgraph"].n, found["radgraph"].excluded) == (0.5, 2, 3)


def test_green_counts_matched_claims_against_errors_and_leaves_out_what_cannot_be_compared(run, write_log):
    true = "Cardiomegaly. No pleural effusion. No pneumothorax."
    rows = [
        {"id": 1, "prediction": "Cardiomegaly. No pleural effusion. No pneumothorax.", "reference": true},
        {"id": 2, "prediction": "Cardiomegaly. There is a pleural effusion.", "reference": true},
        {"id": 3, "prediction": "Thank you.", "reference": true},
    ]
    found = run("report-findings", write_log("a.jsonl", rows), metrics="green").table("green").rows["all"]
    assert found["green"].mean == pytest.approx((1 + 1 / 3) / 2) and found["green"].excluded == 1
    assert (found["false_finding"].mean, found["missing_finding"].mean) == (0.5, 0.5)
