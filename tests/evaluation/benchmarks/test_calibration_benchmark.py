import pytest

from vlmalign.records import DataError


def test_a_stated_confidence_is_read_and_set_against_what_is_right(run, write_log, means):
    rows = [{"id": k, "label": truth, "prediction": said} for k, (truth, said) in enumerate([
        ("yes", "Yes, there is.\nConfidence: 8"), ("no", "Yes. Confidence: 8/10"), ("yes", "Yes. Confidence: 6"),
        ("no", "no"), ("yes", None), ("yes", "I am sorry, I cannot help with that. Confidence: 9"),
    ])]  # fmt: skip
    found = run("calibration", write_log("a.jsonl", rows))
    assert found.counts == {"scored": 3, "no_confidence": 1, "missing": 1, "refused": 1}
    row = means(found, "calibration")
    # bin 0.8: half right, off by 0.3, two of three; bin 0.6: right, off by 0.4, one of three
    assert row["ece"] == round((2 * 0.3 + 0.4) / 3, 4) and row["accuracy"] == round(2 / 3, 4)
    assert row["brier"] == round((0.04 + 0.64 + 0.16) / 3, 4)
    assert row["auroc"] == 0.25  # of two pairs one is equal, one the wrong way round
    assert found.table("calibration").rows["all"]["ece"].excluded == 3
    assert means(found, "baselines", "always certain")["brier"] == round(1 / 3, 4)


def test_confidences_in_a_column_have_their_scale_named(run, write_log, means):
    rows = [{"id": k, "correct": k % 2, "confidence": 50} for k in range(4)]
    file = write_log("a.csv", rows)
    assert means(run("calibration", file, scale=100), "calibration")["ece"] == 0
    assert "every answer states 50 %" in " ".join(run("calibration", file, scale=100).notes)
    with pytest.raises(DataError, match="confidence is '50', expected 0 to 1.*scale=100"):
        run("calibration", file)
    with pytest.raises(DataError, match="correct is 'maybe'"):
        run("calibration", write_log("b.csv", [{"id": 1, "correct": "maybe", "confidence": 1}]))
    with pytest.raises(DataError, match="no answer has both a confidence and a known truth"):
        run("calibration", write_log("c.jsonl", [{"id": 1, "label": "yes", "prediction": "yes"}]))
