"""A writer revises, judges decide whether that is better."""

import pytest
from pydantic import ValidationError

from data_builders.judges.feedback import Feedback
from data_builders.judges.reading import state_of


def critic(scores):
    """Scores by what the answer says."""

    def reply(request):
        text = request.messages[0].text
        truth = next((score for words, score in scores.items() if f"| {words}" in text), 1)
        return f"The effusion is missing.\nSCORES\ntruth: {truth}\ncompleteness: {truth}\nclarity: {truth}"

    return reply


def test_a_revision_that_scores_higher_is_kept(item, script, judged):
    writer = script(["I agree.\nREVISED\nSmall effusion.", "REVISED\nLarge left effusion."])
    judges = {"w": writer, "j": script(critic({"Normal": 1, "Small": 3, "Large": 5}))}
    *versions, final = judged(Feedback(writer="w", rounds=3), item("Normal."), judges)
    assert final.candidate_ids == ("a", "a/revision/2") and final.verdict == "second"
    assert final.extra["revision"] == "Large left effusion."
    assert (final.components["score_first"], final.components["score_second"]) == (0.0, 1.0)
    assert final.extra["ended"] == "the score is 1" and len(writer.requests) == 2  # the target is reached
    assert [(j.candidate_ids[0], j.score) for j in versions] == [
        ("a", 0.0), ("a/revision/1", 0.5), ("a/revision/2", 1.0),
    ]  # fmt: skip
    assert "| The effusion is missing." in writer.prompts[0] and "| Small effusion." in writer.prompts[1]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("REVISED\nWorse.", "revision 1 scores 0 after 0.5"),
        ("REVISED\nFine  words.", "revision 1 changes nothing"),
        ("Fine new words.", "revision 1 cannot be read (unparsed: there are 0 lines REVISED, expected 1)"),
        ("REVISED\nx\nREVISED\ny", "there are 2 lines REVISED"),
        ("REVISED\n", "nothing stands after REVISED"),
    ],
)
def test_what_is_no_better_is_not_taken(item, script, judged, reply, why):
    judges = {"w": script(reply), "j": script(critic({"Fine": 3}))}
    final = judged(Feedback(writer="w"), item("Fine words."), judges)[-1]
    assert (final.valid, state_of(final), final.candidate_ids) == (False, "not_improved", ("a",))
    assert why in final.invalid_reason


def test_a_version_that_a_judge_did_not_score_ends_the_loop(item, script, judged):
    judges = {"w": script("REVISED\nBetter."), "j": script(critic({})), "k": script("Hm.")}
    final = judged(Feedback(writer="w"), item("Normal."), judges)[-1]
    assert final.invalid_reason == "not_improved: a version was not scored"
    assert judges["w"].requests == []


def test_the_writer_judges_only_where_it_is_alone(item, script, judged):
    judges = {"w": script("REVISED\nBetter."), "j": script(critic({"Better": 4}))}
    found = judged(Feedback(writer="w", rounds=1), item("Normal.", "Poor."), judges)
    assert {j.judge for j in found} == {"j/pointwise@1", "w+j/feedback@1"}
    assert len({j.id for j in found}) == len(found)


def test_the_writer_never_sees_the_reference(item, script, judged):
    with pytest.raises(ValidationError, match="the writer must not see the reference"):
        Feedback(writer="w", reference=True)
    judges = {"w": script("REVISED\nBetter."), "j": script(critic({"Better": 4}))}
    protocol = Feedback(writer="w", rounds=1, options={"reference": True})
    judged(protocol, item("Normal.", reference="SECRET"), judges)
    assert "SECRET" in judges["j"].prompts[0] and "SECRET" not in judges["w"].prompts[0]


def test_an_unknown_writer_is_refused(item, script, judged):
    with pytest.raises(ValueError, match=r"writer 'x' is none of the models \['m'\]"):
        judged(Feedback(writer="x"), item("Normal."), script(""))
