import pytest

from vlmalign.rewards import stated_confidence


@pytest.mark.parametrize(
    ("text", "rest", "confidence"),
    [
        ("No leukocyte is seen.\nConfidence: 7", "No leukocyte is seen.", 0.7),
        ("No leukocyte. confidence: 9.5/10.", "No leukocyte.", 0.95),
        ("Confidence: 0", "", 0.0),
        ("All clear. Confidence: 70", "All clear.", None),
        ("All clear. Confidence: high", "All clear. Confidence: high", None),
        ("Confidence: 7 is what I have. All clear.", "Confidence: 7 is what I have. All clear.", None),
        ("Overconfidence: 7", "Overconfidence: 7", None),
    ],
)
def test_only_a_number_from_0_to_10_at_the_end_is_a_confidence(text, rest, confidence):
    assert stated_confidence(text) == (rest, confidence)
