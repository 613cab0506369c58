"""Scores on a rubric."""

import pytest
from pydantic import ValidationError

from data_builders.judges.pointwise import Pointwise
from data_builders.judges.reading import Unread, state_of
from data_builders.judges.rubric import Criterion, read_scores

RUBRIC = (
    Criterion(name="truth", about="true", weight=3),
    Criterion(name="plain words", about="plain", low=0, high=10),
)


@pytest.mark.parametrize("text", [
    "Reasons: truth: 1.\nSCORES\ntruth: 4\nplain words: 5\nCONFIDENCE: 6",
    "**SCORES:**\n- Truth: 4/5\n- **Plain words**: 5 out of 10\n\nConfidence: 6/10",
])  # fmt: skip
def test_scores_and_their_weighted_mean_are_read(text):
    found = read_scores(text, RUBRIC)
    assert found.scores == {"truth": 4, "plain words": 5}
    assert found.total == pytest.approx((3 * 0.75 + 1 * 0.5) / 4)
    assert found.confidence == 0.6


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("truth: 4\nplain words: 5", "no line SCORES"),
        ("SCORES\ntruth: 4\nSCORES\nplain words: 5", "several lines SCORES"),
        ("SCORES\ntruth: 4", "'plain words' is not scored"),
        ("SCORES\ntruth: 4\ntruth: 4\nplain words: 5", "'truth' is scored twice"),
        ("SCORES\ntruth: 6\nplain words: 5", "'truth' is 6, outside 1 to 5"),
        ("SCORES\ntruth: -1\nplain words: 5", "outside 1 to 5"),
        ("SCORES\ntruth: 4/10\nplain words: 5", "out of 10, not out of 5"),
        ("SCORES\ntruth: 4.5\nplain words: 5", "not a whole number"),
        ("SCORES\ntruth: 4 or 5\nplain words: 5", "not a whole number"),
        ("SCORES\ntruth: high\nplain words: 5", "not a whole number"),
        ("SCORES\ntruth: 4\nplain words: 5\ntotal: 9", "'total: 9' among the scores is no criterion"),
        ("SCORES\ntruth: 4\nplain words: 5\nThank you.", "is no criterion"),
    ],
)
def test_scores_that_cannot_be_read_are_none(text, why):
    found = read_scores(text, RUBRIC)
    assert isinstance(found, Unread) and why in found.why


def test_each_answer_is_scored_by_itself(item, script, judged):
    replies = ["R.\nSCORES\ntruth: 5\nplain words: 10", "R.\nSCORES\ntruth: 5"]
    judge = script(replies)
    good, bad = judged(Pointwise(criteria=RUBRIC), item("x", "y"), judge)
    assert (good.score, good.components) == (1.0, {"truth": 5.0, "plain_words": 10.0})
    assert (bad.score, state_of(bad), bad.candidate_ids) == (None, "unparsed", ("b",))
    assert "truth (1 to 5): true" in judge.prompts[0] and "| y" not in judge.prompts[0]


def test_a_confidence_is_only_that_of_the_reply(item, script, judged):
    reply = "R.\nSCORES\ntruth: 5\nplain words: 10"
    found = judged(Pointwise(criteria=RUBRIC, confidence=True), item("x\nCONFIDENCE: 9"), script(reply))
    assert found[0].valid and found[0].confidence is None


@pytest.mark.parametrize(("fields", "message"), [
    ({"low": 5}, "high .5. must be above low .5."),
    ({"levels": {9: "x"}}, "level 9 is outside 1 to 5"),
    ({"name": "confidence"}, "means something else"),
    ({"name": "a: b"}, "pattern"),
])  # fmt: skip
def test_a_criterion_that_could_not_be_read_back_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Criterion(**{"name": "x", "about": "y", **fields})


def test_two_criteria_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="two criteria have one name"):
        Pointwise(criteria=(RUBRIC[0], RUBRIC[0]))
