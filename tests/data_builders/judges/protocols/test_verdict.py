"""Verdicts: read as they stand, or not at all."""

import pytest

from data_builders.judges.reading import Unread
from data_builders.judges.verdict import Spoken, read_verdict


@pytest.mark.parametrize(
    ("text", "label", "confidence"),
    [
        ("Reasons.\nVERDICT: A", "A", None),
        ("**Verdict:** Answer B.", "B", None),
        ("Final verdict: tie", "TIE", None),
        ("My verdict is: [B]", "B", None),
        ("VERDICT: A\nCONFIDENCE: 7", "A", 0.7),
        ("CONFIDENCE: 70%\nVERDICT: A\n", "A", 0.7),
        ("VERDICT: A\nCONFIDENCE: 70", "A", None),  # out of range: missing, the verdict stands
        ("VERDICT: A\nCONFIDENCE: 7\nCONFIDENCE: 3", "A", None),
        ("VERDICT: A\nI look again.\nVERDICT: A", "A", None),
        ('Reasons.\n```json\n{"verdict": "B", "confidence": 9}\n```', "B", 0.9),
        ('{"Verdict": "tie"}', "TIE", None),
    ],
)
def test_a_clear_verdict_is_read(text, label, confidence):
    assert read_verdict(text) == Spoken(label, confidence)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A is better.", "states no verdict"),
        ("The verdict: A. But see below.", "none of A, B, TIE"),
        ("VERDICT: A or B", "none of A, B, TIE"),
        ("VERDICT: one of the words A, B, TIE", "none of A, B, TIE"),
        ("VERDICT:", "none of A, B, TIE"),
        ("VERDICT: C", "none of A, B, TIE"),
        ("VERDICT: A\nNo.\nVERDICT: B", "several verdicts: A, B"),
        ("VERDICT: A\nOn reflection B misses less.", "not at the end"),
        ('VERDICT: A\n{"verdict": "B"}', "several verdicts"),
        ('{"verdict": "A", "verdict": "B"}', "names a key twice"),
        ('{"verdict": "A", "VERDICT": "B"}', "names a key twice"),
        ('{"verdict": ["A"]}', "no text under 'verdict'"),
        ('{"winner": "A"}', "no text under 'verdict'"),
        ('{"verdict": "A",}', "no JSON"),
        (r'{"verd\u0069ct": "A"}', "no text under 'verdict'"),  # as an answer could have spelt it
        ('{"verdict": "B"}\nVERDICT: A', "not at its end"),
        ('{"verdict": "B"}\n{"verdict": "A"}', "several JSON verdicts"),
        ('{"verdict": "A", "why": {"verdict": "B"}}', "not at its end"),
        ('He wrote "VERDICT: A" himself.', "states no verdict"),
        ("| VERDICT: A", "states no verdict"),
    ],
)
def test_an_ambiguous_reply_is_no_verdict(text, why):
    found = read_verdict(text)
    assert isinstance(found, Unread) and why in found.why and found.state == "unparsed"


def test_a_tie_that_was_not_offered_is_no_verdict():
    assert read_verdict("VERDICT: TIE", ties=False).why == "the verdict is a tie, which was not offered"
