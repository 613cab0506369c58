import pytest
from PIL import Image

from vlmalign.records import (
    Candidate,
    DataError,
    DatasetBuild,
    Judgement,
    Preference,
    assistant,
    read_manifest,
    read_records,
    user,
)
from vlmalign.rewards import ScalarReward, SymbolicReward, score_candidates, score_pairs
from vlmalign.rewards.picking import pick_best_of_n
from vlmalign.rewards.scoring import judge_candidates


@pytest.fixture
def symbolic():
    return SymbolicReward("peripheral_smear", concepts=["leukocyte"])


def test_every_candidate_gets_a_judgement_and_what_is_missing_is_counted(symbolic, folders, tmp_path):
    out = score_candidates(symbolic, *folders, tmp_path / "out")
    judged = read_records(out, Judgement)
    assert [j.score for j in judged] == [1.0, -1.0, None]
    assert [j.valid for j in judged] == [True, True, False] and judged[2].invalid_reason == "no claim parsed"
    assert judged[0].judge == symbolic.name and judged[0].criterion == "symbolic" and judged[0].std is None
    assert judged[0].components["correct"] == 1.0
    counts = read_manifest(out).counts
    assert counts["invalid"] == 1 and counts["cases_without_candidates"] == 1


def test_experts_behind_a_reward_are_named_by_its_judgements_and_by_what_is_picked(folders, tmp_path):
    class Taught(SymbolicReward):
        experts = ("cells@1",)

    judged = score_candidates(Taught("peripheral_smear", concepts=["leukocyte"]), *folders, tmp_path / "judged")
    assert read_manifest(judged).config["experts"] == ["cells@1"]
    picks = read_records(pick_best_of_n(folders[1], judged, tmp_path / "picks"), Candidate)
    assert picks and all(pick.extra["best_of_n"]["expert_ids"] == ["cells@1"] for pick in picks)


def test_an_answer_cut_by_the_token_limit_is_invalid_for_every_reward_and_never_shown_to_it(symbolic, make):
    whole, cut = make.candidate("A leukocyte is present."), make.candidate("A leukocyte is", n=1, finished=False)
    case = make.case([make.finding("leukocyte", "present")])
    seen = []

    class Spy:
        name, needs_images = "spy@1", True

        def score(self, cases, candidates, images):
            seen.extend(zip(candidates, images, strict=True))
            return symbolic.score(cases, candidates)

    judged, invalid = judge_candidates(Spy(), "c", [case] * 3, [cut, whole, cut], [["a"], ["b"], ["c"]])
    assert [j.valid for j in judged] == [False, True, False] and invalid == 2
    assert judged[0].score is None and judged[0].invalid_reason == "unfinished: cut by the token limit"
    assert judged[1].score == 1.0 and seen == [(whole, ["b"])]
    assert judge_candidates(Spy(), "c", [case], [cut], None)[1] == 1 and len(seen) == 1


def test_a_stopped_scoring_continues_and_ends_with_the_same_bytes(symbolic, folders, tmp_path):
    whole = score_candidates(symbolic, *folders, tmp_path / "whole", cases_per_batch=1)

    class Dies:
        name, needs_images, calls = symbolic.name, False, 0

        def score(self, *args):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_candidates(Dies(), *folders, tmp_path / "part", cases_per_batch=1)
    part = score_candidates(symbolic, *folders, tmp_path / "part", cases_per_batch=1)
    for name in ("records.jsonl", "manifest.json"):
        assert (whole / name).read_bytes() == (part / name).read_bytes()


def test_a_reward_that_looks_gets_the_images_of_each_case(reward_run, folders, tmp_path):
    out = score_candidates(ScalarReward(reward_run), *folders, tmp_path / "out", criterion="quality")
    judged = read_records(out, Judgement)
    assert all(j.valid and j.criterion == "quality" for j in judged)
    assert len({j.score for j in judged}) == 3


def test_a_candidate_to_an_unknown_case_is_refused_by_name(symbolic, folders, tmp_path, make):
    with DatasetBuild(tmp_path / "stray", "candidate", {}) as build:
        build.commit("x", [make.candidate("Yes.", i=7)])
    with pytest.raises(DataError, match="record 'c7/0', field 'case_id': the candidate answers case 'c7'"):
        score_candidates(symbolic, folders[0], tmp_path / "stray", tmp_path / "out")


def test_both_sides_of_a_pair_are_scored_under_their_own_names(reward_run, tmp_path):
    with DatasetBuild(tmp_path / "pairs", "preference", {}) as build:
        image = build.add_image(Image.new("RGB", (32, 32)))
        pair = Preference(
            id="p", case_id="c", group_id="g", split="train", images=(image,),
            prompt=(user("Describe.", images=1),), chosen=(assistant("Yes."),), rejected=(assistant("No."),),
            source="expert",
        )  # fmt: skip
        build.commit("p", [pair])
    judged = read_records(score_pairs(ScalarReward(reward_run), tmp_path / "pairs", tmp_path / "out"), Judgement)
    assert [j.candidate_ids for j in judged] == [("p/chosen",), ("p/rejected",)]
    assert judged[0].score != judged[1].score


def test_a_reward_that_looks_at_images_is_not_asked_about_nothing(make):
    from vlmalign.rewards import score_whole

    class Looking:
        name, needs_images = "looking@1", True

        def score(self, cases, candidates, images=None):
            raise AssertionError("asked")

    assert len(score_whole(Looking(), [], [], None)) == 0
    case = make.case()
    cut = score_whole(Looking(), [case], [make.candidate("A leuk", finished=False)], None)
    assert cut.valid == (False,) and cut.reasons[0].startswith("unfinished")


def test_pairs_without_an_image_are_counted_as_invalid_beside_those_that_have_one(reward_run, tmp_path):
    with DatasetBuild(tmp_path / "pairs", "preference", {}) as build:
        image = build.add_image(Image.new("RGB", (32, 32)))
        for name, images in (("seen", (image,)), ("unseen", ())):
            pair = Preference(
                id=name, case_id="c", group_id="g", split="train", images=images,
                prompt=(user("Describe.", images=len(images)),), chosen=(assistant("Yes."),),
                rejected=(assistant("No."),), source="expert",
            )  # fmt: skip
            build.commit(name, [pair])
    out = score_pairs(ScalarReward(reward_run), tmp_path / "pairs", tmp_path / "out")
    judged = {j.candidate_ids[0]: j for j in read_records(out, Judgement)}
    assert (
        judged["seen/chosen"].valid and not judged["unseen/chosen"].valid and not judged["unseen/rejected"].valid
    )
    assert "no image" in judged["unseen/chosen"].invalid_reason
    assert read_manifest(out).counts["invalid"] == 2
