"""Preference pairs from scores and verdicts of judges."""

import asyncio

import pytest

from data_builders import PairingConfig
from data_builders.judged_pairs import build_judged_pairs
from data_builders.judges.asking import JudgeAnswer, JudgeItem, JudgeReply
from data_builders.judges.feedback import Feedback
from data_builders.judges.jury import Jury
from data_builders.judges.pairwise import Pairwise
from vlmalign.records import (
    Candidate,
    Case,
    DataError,
    DatasetBuild,
    Judgement,
    Preference,
    read_manifest,
    read_records,
)  # fmt: skip
from vlmalign.records.validation import validate_folder

TEXTS = ["No finding.", "A small effusion on the left.", "A large effusion on the right.", "The heart is wide."]


@pytest.fixture
def cases(world, full):
    return world.cases("cases", {"c": full})


@pytest.fixture
def candidates(world):
    return world.candidates("candidates", {"c": TEXTS})


@pytest.fixture
def write(world):
    """Write judgements: (candidate numbers, fields) each; a text instead of fields is why it is invalid."""

    def run(*judged, criterion="green", judge="m/green@1", name="judged", config=None, data_use="open"):
        with DatasetBuild(world.root / name, "judgement", config or {}, data_use=data_use) as build:
            for n, (numbers, fields) in enumerate(judged):
                state = {"valid": False, "invalid_reason": fields} if isinstance(fields, str) else fields
                build.commit(str(n), [Judgement(**{
                    "id": f"j{n}", "case_id": "c", "candidate_ids": tuple(f"c/report/{k}" for k in numbers),
                    "criterion": criterion, "judge": judge, **state,
                })])  # fmt: skip
        return world.root / name

    return run


def test_the_best_score_against_the_worst(world, cases, candidates, write):
    judged = write(
        ([0], {"score": 0.2, "critique": "Misses all."}), ([1], {"score": 0.9, "critique": "Right."}),
        ([2], {"score": 0.5}), ([3], "cut: after 512 tokens"),
    )  # fmt: skip
    out = build_judged_pairs(cases, candidates, judged, world.root / "out")
    (pair,) = read_records(out, Preference)
    assert (pair.provenance["chosen_candidate"], pair.provenance["rejected_candidate"]) == (
        "c/report/1", "c/report/0",
    )  # fmt: skip
    assert (pair.margin, pair.chosen_rating, pair.rejected_rating) == (0.7, 0.9, 0.2)
    assert (pair.chosen_critique, pair.rejected_critique) == ("Right.", "Misses all.")
    assert (pair.source, pair.judge_ids) == ("judge", ("m/green@1",))
    counts = read_manifest(out).counts
    assert (counts["invalid:cut"], counts["chosen_words"], counts["rejected_words"]) == (1, 6, 2)
    assert (pair.provenance["length"]["words_difference"], counts["chosen_longer"]) == (4, 1)
    assert not validate_folder(out)


def test_an_expert_behind_the_judge_is_named_by_the_pairs(world, cases, candidates, write):
    judged = write(([0], {"score": 0.2}), ([1], {"score": 0.9}), config={"experts": ["cells@1"]})
    (pair,) = read_records(build_judged_pairs(cases, candidates, judged, world.root / "out"), Preference)
    assert pair.expert_ids == ("cells@1",)


def test_a_length_controlled_score_may_decide_otherwise(world, cases, candidates, write):
    judged = write(
        ([0], {"score": 0.5, "components": {"length_controlled": 0.5}}),
        ([1], {"score": 0.9, "components": {"length_controlled": 0.3}}),
    )  # fmt: skip
    out = build_judged_pairs(cases, candidates, judged, world.root / "out", score="length_controlled")
    (pair,) = read_records(out, Preference)
    assert (pair.provenance["chosen_candidate"], pair.margin, pair.chosen_rating) == ("c/report/0", 0.2, 0.5)
    assert read_manifest(out).counts["invalid:no_judgement"] == 2
    with pytest.raises(DataError, match="no component 'lenght'.*It has: length_controlled"):
        build_judged_pairs(cases, candidates, judged, world.root / "other", score="lenght")


def test_equal_scores_are_ties_and_make_no_pair(world, cases, candidates, write):
    judged = write(([0], {"score": 0.5}), ([1], {"score": 0.55}))
    counts = read_manifest(build_judged_pairs(cases, candidates, judged, world.root / "out")).counts
    assert (counts["records"], counts["ties"], counts["cases_without_pair"]) == (0, 1, 1)


VERDICTS = [
    ([0, 1], {"verdict": "second"}), ([0, 2], {"verdict": "second"}), ([0, 3], {"verdict": "tie"}),
    ([1, 2], {"verdict": "first"}), ([1, 3], {"verdict": "first"}), ([2, 3], "inconsistent: first against second"),
]  # fmt: skip


def test_of_several_answers_the_one_that_won_most_is_over_the_one_that_lost_most(world, cases, candidates, write):
    judged = write(*VERDICTS, criterion="pairwise", judge="m/pairwise@1")
    out = build_judged_pairs(cases, candidates, judged, world.root / "out")
    (pair,) = read_records(out, Preference)
    # 1: 3 of 3; 2: 1 - 1 of 2; 3: -1 of 2; 0: -2 of 3
    assert (pair.provenance["chosen_candidate"], pair.provenance["rejected_candidate"]) == (
        "c/report/1", "c/report/0",
    )  # fmt: skip
    assert (pair.margin, pair.chosen_rating) == (pytest.approx(5 / 3), None)
    assert pair.provenance["judgement"] == "j0"
    counts = read_manifest(out).counts
    assert (counts["verdicts"], counts["ties"], counts["invalid:inconsistent"]) == (6, 1, 1)


def test_every_decided_comparison_may_be_a_pair(world, cases, candidates, write):
    judged = write(*VERDICTS, criterion="pairwise", judge="m/pairwise@1")
    out = build_judged_pairs(
        cases, candidates, judged, world.root / "out", pairing=PairingConfig(mode="all", max_length_ratio=2.9)
    )
    pairs = [(p.provenance["chosen_candidate"][-1], p.provenance["rejected_candidate"][-1], p.margin)
             for p in read_records(out, Preference)]  # fmt: skip
    assert pairs == [("1", "2", None), ("1", "3", None)]  # 6 words over 2 are too many
    assert read_manifest(out).counts["too_long"] == 2


def test_the_margin_of_a_vote_is_the_difference_of_its_shares(world, cases, candidates, write):
    judged = write(
        ([0, 1], {"verdict": "second", "components": {"share_first": 0.25}}),
        ([1, 2], {"verdict": "first", "components": {"share_first": 0.52}}), criterion="vote",
    )  # fmt: skip
    out = build_judged_pairs(cases, candidates, judged, world.root / "o", pairing=PairingConfig(mode="all"))
    (pair,) = read_records(out, Preference)
    assert (pair.margin, read_manifest(out).counts["ties"]) == (0.5, 1)


def test_answers_that_were_cut_take_no_part(world, cases, write):
    cut = world.candidates("cut", {"c": TEXTS[:3]}, cut=["c/report/1"])
    scores = write(([0], {"score": 0.1}), ([1], {"score": 0.9}), ([2], {"score": 0.5}))
    out = build_judged_pairs(cases, cut, scores, world.root / "out")
    assert read_records(out, Preference)[0].provenance["chosen_candidate"] == "c/report/2"
    assert read_manifest(out).counts["invalid:unfinished"] == 1


def item_of(cases, candidates):
    (case,) = read_records(cases, Case)
    answers = tuple(JudgeAnswer(c.id, c.messages) for c in read_records(candidates, Candidate))
    return JudgeItem("c", "c", case.messages, (), answers)


def judge_into(folder, protocol, item, jury):
    with DatasetBuild(folder, "judgement", {}, data_use="open") as build:
        build.commit("c", asyncio.run(protocol.judge(item, jury)))
    return folder


def test_a_jurys_judgements_are_chosen_and_its_members_are_named(world, cases):
    two = world.candidates("two", {"c": TEXTS[:2]})

    def prefer(answer):
        async def ask(request):
            return JudgeReply("answered", f"R.\nVERDICT: {'AB'[request.display_order.index(answer)]}")

        return ask

    jury = {"one": prefer("c/report/1"), "two": prefer("c/report/1"), "three": prefer("c/report/0")}
    judged = judge_into(world.root / "judged", Jury(), item_of(cases, two), jury)
    (pair,) = read_records(build_judged_pairs(cases, two, judged, world.root / "out"), Preference)
    assert pair.judge_ids == ("one+two+three/jury@1", "one/pairwise@1", "three/pairwise@1", "two/pairwise@1")
    assert (pair.provenance["chosen_candidate"], pair.margin) == ("c/report/1", pytest.approx(1 / 3))
    with pytest.raises(DataError, match="several: one/pairwise@1, three/.*--judge"):
        build_judged_pairs(cases, two, judged, world.root / "o", criterion="pairwise")
    (pair,) = read_records(
        build_judged_pairs(cases, two, judged, world.root / "p", criterion="pairwise", judge="three/pairwise@1"),
        Preference,
    )
    assert pair.provenance["chosen_candidate"] == "c/report/0"


def test_single_orders_never_make_pairs(world, cases):
    two = world.candidates("two", {"c": TEXTS[:2]})

    async def first(request):
        return JudgeReply("answered", "R.\nVERDICT: A")

    judged = judge_into(world.root / "judged", Pairwise(), item_of(cases, two), {"m": first})
    counts = read_manifest(build_judged_pairs(cases, two, judged, world.root / "out")).counts
    assert (counts["records"], counts["invalid:inconsistent"]) == (0, 1)


def test_a_revision_is_over_its_original(world, cases):
    three = world.candidates("three", {"c": TEXTS[:3]})

    async def writer(request):
        return JudgeReply("answered", "REVISED\nA small effusion, no other finding.")

    async def critic(request):
        good = "no other finding" in request.messages[0].text
        score = 5 if good else 1
        return JudgeReply(
            "answered", f"It is short.\nSCORES\ntruth: {score}\ncompleteness: {score}\nclarity: {score}"
        )

    jury = {"w": writer, "j": critic}
    judged = judge_into(world.root / "judged", Feedback(writer="w"), item_of(cases, three), jury)
    out = build_judged_pairs(cases, three, judged, world.root / "out")
    pairs = read_records(out, Preference)
    assert [p.provenance["chosen_candidate"] for p in pairs] == [f"c/report/{n}/revision/1" for n in range(3)]
    assert {p.chosen[0].text for p in pairs} == {"A small effusion, no other finding."}
    assert pairs[0].judge_ids == ("w+j/feedback@1",) and not validate_folder(out)


@pytest.mark.parametrize(("pairing", "message"), [
    ({"invalid_as_rejected": True}, "says nothing against the answer"),
    ({"match_unverified": True}, "name no claims"),
])  # fmt: skip
def test_options_without_meaning_for_judgements_are_refused(world, cases, candidates, write, pairing, message):
    with pytest.raises(ValueError, match=message):
        build_judged_pairs(
            cases, candidates, write(([0], {"score": 1.0})), world.root / "o", pairing=PairingConfig(**pairing)
        )
    assert not (world.root / "o").exists()


def test_judgements_of_other_candidates_are_refused(world, cases, candidates, write):
    with pytest.raises(DataError, match="judgements are of other candidates .hash abc"):
        build_judged_pairs(
            cases, candidates, write(([0], {"score": 1.0}), config={"candidates": "abc"}), world.root / "o"
        )
    strange = write(([7], {"score": 1.0}), name="strange")
    with pytest.raises(DataError, match="j0.*candidate 'c/report/7' is not in the candidate folder"):
        build_judged_pairs(cases, candidates, strange, world.root / "p")
    verdicts = write(*VERDICTS, criterion="pairwise", name="verdicts")
    with pytest.raises(ValueError, match="'pairwise' gives verdicts: leave score out"):
        build_judged_pairs(cases, candidates, verdicts, world.root / "q", score="length_controlled")
    with pytest.raises(DataError, match="nothing is judged by 'pairwize'. Did you mean 'pairwise'"):
        build_judged_pairs(cases, candidates, verdicts, world.root / "q", criterion="pairwize")


def test_the_strictest_rule_about_sending_data_is_inherited(world, cases, candidates, write):
    judged = write(([0], {"score": 1.0}), data_use="local_only")
    assert read_manifest(build_judged_pairs(cases, candidates, judged, world.root / "o")).data_use == "local_only"


def test_a_killed_build_ends_with_the_same_bytes(world, full, killed, bytes_of):
    cases = world.cases("many", {"c": full, "d": full})
    candidates = world.candidates("sampled", {"c": TEXTS[:2], "d": TEXTS[2:]})
    with DatasetBuild(world.root / "j", "judgement", {}, data_use="open") as build:
        for n, c in enumerate(read_records(candidates, Candidate)):
            build.commit(c.id, [Judgement(id=c.id, case_id=c.case_id, candidate_ids=(c.id,), criterion="green",
                                          judge="m", score=n / 4)])  # fmt: skip
    whole = build_judged_pairs(cases, candidates, world.root / "j", world.root / "whole")
    killed(lambda: build_judged_pairs(cases, candidates, world.root / "j", world.root / "cut"), 1)
    again = build_judged_pairs(cases, candidates, world.root / "j", world.root / "cut")
    assert bytes_of(again) == bytes_of(whole) and len(read_records(again, Preference)) == 2
