"""Several models as one judge."""

import pytest
from pydantic import ValidationError

from data_builders.judges.asking import JudgeReply
from data_builders.judges.jury import Jury
from data_builders.judges.reading import state_of
from vlmalign.records.scores import margin_std


def scores(truth):
    return f"R.\nSCORES\ntruth: {truth}\ncompleteness: {truth}\nclarity: {truth}"


def prefers(answer):
    return lambda request: f"R.\nVERDICT: {'AB'[request.display_order.index(answer)]}"


def test_the_verdict_of_most_members_is_the_jurys(item, script, judged):
    jury = {"one": script(prefers("b")), "two": script(prefers("b")), "three": script(prefers("a"))}
    *members, final = judged(Jury(), item("x", "y"), jury)
    assert (final.verdict, final.criterion, final.judge) == ("second", "jury.pairwise", "one+two+three/jury@1")
    assert final.components["share_first"] == pytest.approx(1 / 3)
    assert len(members) == 9 and set(final.extra["members"]) == {f"{m}/pairwise@1" for m in jury}


def test_an_absent_member_counts_as_one_that_did_not_agree(item, script, judged):
    jury = {"one": script(prefers("b")), "two": script("Hm."), "three": script("R.\nVERDICT: A")}
    final = judged(Jury(), item("x", "y"), jury)[-1]
    assert state_of(final) == "unparsed"  # one vote; one unread, one inconsistent
    assert sorted(final.extra["members"].values()) == ["inconsistent", "judged", "unparsed"]


def test_scores_are_averaged_over_those_who_gave_one(item, script, judged):
    jury = {"one": script(scores(5)), "two": script(scores(3)), "three": script("Hm.")}
    final = judged(Jury(protocol="pointwise"), item("x"), jury)[-1]
    assert (final.score, final.std) == (0.75, pytest.approx(0.5 / 2**0.5))
    assert (final.components["truth"], final.components["coverage"]) == (4.0, pytest.approx(2 / 3))
    assert "member_0" not in final.components  # with one absent, number 1 may be another one elsewhere
    final = judged(Jury(protocol="pointwise", quorum=0.7), item("x"), jury)[-1]
    assert state_of(final) == "no_quorum"


def test_members_that_differ_by_a_constant_are_sure_of_the_difference(item, script, judged):
    def strict(request):
        return scores(4 if "| good" in request.messages[0].text else 2)

    def mild(request):
        return scores(5 if "| good" in request.messages[0].text else 3)

    found = judged(Jury(protocol="pointwise"), item("good", "bad"), {"one": script(strict), "two": script(mild)})
    good, bad = [j for j in found if j.criterion.startswith("jury")]
    assert good.std > 0 and margin_std(good, bad) == 0.0


@pytest.mark.parametrize("protocol", ["pairwise", "green"])
def test_what_keeps_every_member_from_judging_is_the_jurys_reason(item, script, judged, protocol):
    jury = {"one": script("Hm."), "two": script("Hm.")}
    final = judged(Jury(protocol=protocol), item("x"), jury)[-1]
    assert state_of(final) == {"pairwise": "alone", "green": "no_reference"}[protocol]
    refusing = {name: script(JudgeReply("refused", reason="No.")) for name in jury}
    final = judged(Jury(protocol=protocol), item("x", "y", reference="z"), refusing)[-1]
    assert final.invalid_reason == "refused: all 2 members"


def test_a_jury_of_one_is_refused(item, script, judged):
    with pytest.raises(ValueError, match=r"jury@1 has the judges \['m'\]: it takes two or more"):
        judged(Jury(), item("x", "y"), script(""))


def test_options_of_the_members_are_checked_when_the_jury_is_made():
    with pytest.raises(ValidationError, match="tiess"):
        Jury(options={"tiess": True})
