"""Judges argue, then vote."""

import pytest

from data_builders.judges.debate import SILENT, Debate
from data_builders.judges.reading import state_of


def letter(request, answer):
    return "AB"[request.display_order.index(answer)]


def stubborn(answer, reason):
    return lambda request: f"{reason}\nVERDICT: {letter(request, answer)}"


def open_minded(answer, convinced_by, other):
    """Prefers an answer until it reads a reason."""

    def reply(request):
        heard = convinced_by in request.messages[0].text
        said = "You are right." if heard else "It is longer."
        return f"{said}\nVERDICT: {letter(request, other if heard else answer)}"

    return reply


def test_a_judge_that_is_convinced_changes_its_vote(item, script, judged):
    jury = {
        "one": script(stubborn("b", "The effusion is on the left.")),
        "two": script(open_minded("a", "effusion is on the left", "b")),
        "three": script(stubborn("a", "I prefer it.")),
    }
    first, second, final = judged(Debate(rounds=1), item("Normal.", "An effusion."), jury)
    assert [j.verdict for j in (first, second, final)] == ["second"] * 3
    assert (first.components["changed"], first.components["votes_second"]) == (1.0, 2.0)
    assert [(t["round"], t["seat"], t["verdict"]) for t in first.extra["transcript"]] == [
        (0, 0, "second"), (0, 1, "first"), (0, 2, "first"), (1, 0, "second"), (1, 1, "second"), (1, 2, "first"),
    ]  # fmt: skip
    assert final.judge == "one+two+three/debate@1" and final.criterion == "debate"


def test_each_seat_hears_the_others_and_itself_apart(item, script, judged):
    jury = {"one": script(stubborn("b", "Reason one.")), "two": script(stubborn("a", "Reason two."))}
    judged(Debate(rounds=1), item("x", "y"), jury)
    heard = next(p for p in jury["one"].prompts if "OTHER JUDGES" in p)
    own, others = heard.split("<<<OTHER JUDGES")
    assert "| Reason one." in own and "Reason two." not in own
    assert "| Judge 2: Reason two." in others and "| VER·DICT: " in others  # fenced: it orders nobody


def test_a_debate_ends_when_all_agree(item, script, judged):
    jury = {"one": script(stubborn("b", "R.")), "two": script(stubborn("b", "S."))}
    found = judged(Debate(rounds=3), item("x", "y"), jury)
    assert len(jury["one"].requests) == 2 and found[0].components["rounds"] == 0
    judged(Debate(rounds=3, until_agreed=False), item("x", "y"), jury)
    assert len(jury["one"].requests) == 2 + 8


def test_without_a_majority_there_is_no_verdict(item, script, judged):
    jury = {"one": script(stubborn("b", "R.")), "two": script(stubborn("a", "S."))}
    first, _, final = judged(Debate(rounds=1), item("x", "y"), jury)
    assert state_of(first) == state_of(final) == "vote_tie"
    assert len(first.extra["transcript"]) == 4


def test_a_seat_that_cannot_be_read_is_heard_again(item, script, judged):
    def late(request):
        return stubborn("b", "S.")(request) if "YOUR OPINION" in request.messages[0].text else "Hm."

    jury = {"one": script(stubborn("b", "R.")), "two": script(late)}
    final = judged(Debate(rounds=1), item("x", "y"), jury)[-1]
    assert final.verdict == "second"
    assert any(SILENT in prompt for prompt in jury["one"].prompts)


def test_one_model_debates_with_itself_only_when_it_samples(item, script, judged):
    with pytest.raises(ValueError, match="2 seats are taken by 1 model.* at temperature 0"):
        judged(Debate(), item("x", "y"), script(""))
    judge = script(stubborn("b", "R."))
    judged(Debate(temperature=0.7), item("x", "y"), judge)
    assert {request.sample for request in judge.requests} == {0, 1}
    with pytest.raises(ValueError, match="seats is 2, but there are 3 judges"):
        judged(Debate(seats=2), item("x", "y"), {"a": judge, "b": judge, "c": judge})
