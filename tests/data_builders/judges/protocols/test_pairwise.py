"""Pairs in both display orders."""

import pytest

from data_builders.judges.asking import JudgeReply
from data_builders.judges.pairwise import Pairwise
from data_builders.judges.reading import state_of
from vlmalign.records.hashing import config_hash


def prefers(text):
    """A judge that finds the answer with this text, wherever it is shown."""

    def reply(request):
        a, b = request.messages[0].text.index("ANSWER A"), request.messages[0].text.index("ANSWER B")
        where = request.messages[0].text.index(text)
        assert a < where
        return f"Reasons.\nVERDICT: {'B' if where > b else 'A'}\nCONFIDENCE: 8"

    return reply


def test_a_verdict_that_survives_the_swap_is_final(item, script, judged):
    judge = script(prefers("large effusion"))
    first, second, final = judged(Pairwise(confidence=True), item("Normal.", "A large effusion."), judge)
    assert [first.display_order, second.display_order] == [("a", "b"), ("b", "a")]
    assert [j.verdict for j in (first, second, final)] == ["second"] * 3
    assert [j.criterion for j in (first, second, final)] == ["pairwise.order", "pairwise.order", "pairwise"]
    assert (final.candidate_ids, final.confidence, final.judge) == (("a", "b"), 0.8, "m/pairwise@1")
    assert len({j.id for j in (first, second, final)}) == 3 and all(j.id.startswith("i1") for j in (first, final))


@pytest.mark.parametrize(("replies", "why"), [
    (["R.\nVERDICT: A"] * 2, "inconsistent: first against second"),
    (["R.\nVERDICT: A", "R.\nVERDICT: TIE"], "inconsistent: first against tie"),
])  # fmt: skip
def test_orders_that_differ_are_inconsistent(item, script, judged, replies, why):
    final = judged(Pairwise(), item("x", "y"), script(replies))[-1]
    assert (final.valid, final.verdict, final.invalid_reason) == (False, None, why)
    tie = judged(Pairwise(inconsistent="tie"), item("x", "y"), script(replies))[-1]
    assert (tie.verdict, tie.extra["state"]) == ("tie", "inconsistent")


def test_two_ties_are_a_tie(item, script, judged):
    final = judged(Pairwise(), item("x", "y"), script("R.\nVERDICT: TIE"))[-1]
    assert final.verdict == "tie" and "state" not in final.extra


@pytest.mark.parametrize("reply", [
    JudgeReply("cut", "VERDICT: A"), JudgeReply("refused", reason="I cannot."), JudgeReply("failed", reason="429"),
])  # fmt: skip
def test_a_reply_that_is_not_whole_is_never_read(item, script, judged, reply):
    first, _, final = judged(Pairwise(), item("x", "y"), script([reply, "R.\nVERDICT: A"]))
    assert state_of(first) == state_of(final) == reply.state
    assert final.invalid_reason.startswith(f"{reply.state}: one order: ")


def test_the_thoughts_of_a_reasoning_model_are_not_its_reply(item, script, judged):
    thoughts = "<think>\nVERDICT: A? No.\nVERDICT: B\n</think>\n"
    for opened in (thoughts, thoughts.removeprefix("<think>\n")):
        assert judged(Pairwise(), item("x", "y"), script(opened + "R.\nVERDICT: TIE"))[-1].verdict == "tie"
    assert state_of(judged(Pairwise(), item("x", "y"), script("<think>\nR.\nVERDICT: TIE"))[-1]) == "cut"
    assert state_of(judged(Pairwise(), item("x", "y"), script(thoughts))[-1]) == "unparsed"


def test_long_names_still_make_ids_of_their_own(item, script, judged):
    found = judged(Pairwise(), item("x", "y", name="i" * 150), {"m" * 100: script("R.\nVERDICT: TIE")})
    assert len({j.id for j in found}) == 3 and all(len(j.id) == 200 for j in found)


def test_every_two_of_several_answers_are_compared(item, script, judged):
    found = judged(Pairwise(), item("x", "y", "z"), script("R.\nVERDICT: A"))
    assert [j.candidate_ids for j in found if j.criterion == "pairwise"] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert len({j.id for j in found}) == 9


def test_several_judges_are_kept_apart(item, script, judged):
    jury = {"one": script("R.\nVERDICT: TIE"), "two": script("nothing")}
    finals = [j for j in judged(Pairwise(), item("x", "y"), jury) if j.criterion == "pairwise"]
    assert [(j.judge, j.valid) for j in finals] == [("one/pairwise@1", True), ("two/pairwise@1", False)]


def test_one_answer_is_not_compared_and_nothing_is_asked(item, script, judged):
    judge = script("")
    (found,) = judged(Pairwise(), item("x"), judge)
    assert (state_of(found), found.candidate_ids, judge.requests) == ("alone", ("a",), [])


def test_the_fingerprint_tells_a_changed_template_of_one_version(tmp_path):
    own = tmp_path / "t.j2"
    prints = []
    for text in ("one", "two"):
        own.write_text("{#\nname: t\nversion: 1\n#}\n" + text)
        prints.append(config_hash(Pairwise(template=str(own)).fingerprint))
    assert prints[0] != prints[1]
