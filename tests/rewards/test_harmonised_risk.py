"""The harmoniser's risk as a reward, on fields whose brightness tells whether a leukocyte is there."""

import math

import pytest
from PIL import Image

from vlmalign.records import DataError, DatasetBuild, Judgement, read_manifest, read_records
from vlmalign.rewards import score_candidates
from vlmalign.rewards.case_features import CaseFeatures
from vlmalign.rewards.harmonised_risk import NO_CLAIM, OTHER_CONCEPTS, SILENT, UNLEARNT, HarmonisedRisk

LOGIC = "peripheral_smear"
YES, NO = "A leukocyte is present.", "No leukocyte is seen."


class World:
    """Folders of cases i, group g{i}, dark where i is odd: there a leukocyte is."""

    def __init__(self, root, make):
        self.root, self.make, self.refs = root, make, {}

    def cases(self, name="cases", numbers=range(12), **fields):
        with DatasetBuild(self.root / name, "case", {}) as build:
            for i in numbers:
                shade = (40 if i % 2 else 200) + i
                self.refs[i] = build.add_image(Image.new("RGB", (32, 32), (shade, 90, 90)))
                case = self.make.case(i=i, image=self.refs[i])
                build.commit(str(i), [case.model_copy(update=fields)])
        return self.root / name

    def answers(self, said, name="candidates", policy="p@1"):
        """`said`: number -> one text or several."""
        with DatasetBuild(self.root / name, "candidate", {}) as build:
            for i, texts in said.items():
                texts = [texts] if isinstance(texts, str) else texts
                made = [self.make.candidate(text, i=i, n=n) for n, text in enumerate(texts)]
                build.commit(str(i), [answer.model_copy(update={"policy": policy}) for answer in made])
        return self.root / name

    def findings(self, counts, name="findings"):
        """`counts`: number -> leukocytes."""
        with DatasetBuild(self.root / name, "finding", {}) as build:
            for i, count in counts.items():
                value = "present" if count else "absent"
                found = self.make.finding("leukocyte", value, image=self.refs[i], probability=0.95)
                build.commit(str(i), [found.model_copy(update={"id": str(i)})])
        return self.root / name


@pytest.fixture
def world(tmp_path, make):
    return World(tmp_path, make)


def truth(i):
    return YES if i % 2 else NO


def risks(reward):
    return {claim.candidate_id: claim.risk for claim in reward.claims if claim.concept == "leukocyte"}


def test_a_wrong_claim_is_riskier_and_no_answer_moves_the_harmoniser_that_scores_it(world):
    cases = world.cases()
    candidates = world.answers({i: YES if i == 4 else truth(i) for i in range(12)})
    findings = world.findings({i: i % 2 for i in range(12)})
    reward = HarmonisedRisk(LOGIC, cases, candidates, findings=[findings], folds=4)
    found = risks(reward)
    assert found["c4/0"] > 0.5 and max(risk for name, risk in found.items() if name != "c4/0") < 0.5
    assert reward.experts == ("cells@1",) and reward.votes_by_expert == {"cells@1": 12}
    right = world.answers({i: truth(i) for i in range(12)}, "right")
    same = risks(HarmonisedRisk(LOGIC, cases, right, findings=[findings], folds=4))
    assert found["c4/0"] == pytest.approx(1 - same["c4/0"])


def test_without_a_feature_the_risk_is_the_share_of_all_votes_that_were_learnt_from(world, monkeypatch):
    """Linear: of g2, g3 the policy says yes, no and the expert yes, nothing: 2 of 3 votes are yes."""
    monkeypatch.setattr("vlmalign.rewards.case_features._pixels", lambda images: [0.0])
    learn, score = world.cases("learn", [2, 3]), world.cases("score", [0, 1])
    reward = HarmonisedRisk(
        LOGIC, score, world.answers({0: [YES, NO], 1: YES}), fit_cases=learn, scalariser="linear",
        fit_candidates=world.answers({2: YES, 3: NO}, "fit_answers"), findings=[world.findings({0: 0, 2: 1})],
    )  # fmt: skip
    yes, no, silent = (claim for claim in reward.claims if claim.concept == "leukocyte")
    assert (yes.risk, no.risk) == (pytest.approx(1 / 3, abs=1e-3), pytest.approx(2 / 3, abs=1e-3))
    assert (yes.majority, no.majority) == (1.0, 0.0)  # the expert says that there is none
    assert (yes.frequency, no.frequency) == (0.5, 0.5)
    assert (silent.risk, silent.majority, silent.frequency, silent.reason) == (None, None, None, SILENT)


def test_judgements_keep_each_concepts_risk_and_a_state_where_there_is_none(world):
    cases = world.cases()
    texts = {i: truth(i) for i in range(12)}
    texts |= {0: [f"{NO} The stain is pale.", "Lovely weather."], 1: [YES, "The stain is pale."]}
    candidates = world.answers(texts)
    findings = world.findings({i: i % 2 for i in range(11)})  # nothing of case 11
    reward = HarmonisedRisk(LOGIC, cases, candidates, findings=[findings])
    score_candidates(reward, cases, candidates, world.root / "judged")
    judged = {j.candidate_ids[0]: j for j in read_records(world.root / "judged", Judgement)}
    whole = judged["c0/0"]
    assert whole.score == pytest.approx(1 - whole.components["risk.leukocyte"])
    assert (whole.components["claims_scored"], whole.components["claims_unscored"]) == (1, 1)
    silent = [judged[name] for name in ("c0/1", "c1/1", "c11/0")]
    assert [j.invalid_reason for j in silent] == [NO_CLAIM, SILENT, SILENT]
    assert all(j.score is None and not j.valid for j in silent)
    config = read_manifest(world.root / "judged").config
    assert config["experts"] == ["cells@1"] and config["criterion"] == "harmonised_risk"
    narrow = HarmonisedRisk(LOGIC, cases, candidates, findings=[findings], concepts=["stain"])
    assert narrow.score([world.make.case(i=2)], [world.make.candidate(NO, i=2)]).reasons == (OTHER_CONCEPTS,)


def test_a_concept_that_sources_speak_of_in_one_group_only_is_not_learnt(world):
    cases = world.cases(numbers=range(4))
    candidates = world.answers({i: truth(i) for i in range(4)})
    reward = HarmonisedRisk(LOGIC, cases, candidates, findings=[world.findings({2: 0})], folds=4)
    assert {c.case_id: c.reason for c in reward.claims if c.concept == "leukocyte"} == {
        "c0": SILENT, "c1": SILENT, "c2": UNLEARNT, "c3": SILENT,
    }  # fmt: skip


def test_other_models_vote_each_with_what_most_of_its_answers_say(world):
    cases = world.cases()
    candidates = world.answers({i: YES for i in range(12)})
    votes = {i: [truth(i), truth(i), YES] for i in range(11)} | {11: [YES, NO]}
    claims = world.answers(votes, "others", policy="other@1")
    reward = HarmonisedRisk(LOGIC, cases, candidates, claims=[claims])
    by_case = {claim.case_id: claim for claim in reward.claims if claim.concept == "leukocyte"}
    assert [by_case[f"c{i}"].majority for i in (0, 1)] == [1.0, 0.0] and by_case["c11"].reason == SILENT
    assert reward.experts == ()
    with pytest.raises(DataError, match="by p@1, whose answers are scored: that is its own word"):
        HarmonisedRisk(LOGIC, cases, candidates, claims=[candidates])


def test_an_answer_that_was_cut_is_neither_scored_nor_learnt_from(world):
    cases = world.cases()
    whole = world.answers({i: truth(i) for i in range(1, 12)}, "whole")
    findings = world.findings({i: i % 2 for i in range(12)})
    with DatasetBuild(world.root / "with_cut", "candidate", {}) as build:
        build.commit("cut", [world.make.candidate(YES, i=1, n=7, finished=False)])
        build.commit("rest", [world.make.candidate(truth(i), i=i) for i in range(1, 12)])
    found = risks(HarmonisedRisk(LOGIC, cases, world.root / "with_cut", findings=[findings]))
    assert "c1/7" not in found and found == risks(HarmonisedRisk(LOGIC, cases, whole, findings=[findings]))


def test_what_is_learnt_from_and_scored_share_no_group_and_no_picture(world):
    cases = world.cases(numbers=range(4))
    candidates = world.answers({i: truth(i) for i in range(4)})
    findings = world.findings({i: i % 2 for i in range(4)})
    answers = world.answers({3: YES, 8: NO}, "fit_answers")
    given = {"findings": [findings], "fit_candidates": answers}
    with pytest.raises(DataError, match="1 groups are in training and in evaluation, e.g. 'g3'"):
        HarmonisedRisk(LOGIC, cases, candidates, fit_cases=world.cases("fit", [3, 8]), **given)
    renamed = world.cases("renamed", [3, 8], group_id="elsewhere")
    with pytest.raises(DataError, match="1 images are in training and in evaluation"):
        HarmonisedRisk(LOGIC, cases, candidates, fit_cases=renamed, **given)
    with DatasetBuild(world.root / "twice", "case", {}) as build:
        ref = build.add_image(Image.new("RGB", (32, 32)))
        build.commit("0", [world.make.case(i=i, image=ref) for i in range(2)])
    twice = world.answers({0: NO, 1: NO}, "to_twice")
    with pytest.raises(DataError, match="of group 'g1' and shows the same picture as case 'c0' of group 'g0'"):
        HarmonisedRisk(LOGIC, world.root / "twice", twice, findings=[findings])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"findings": []}, "there is no weak source: give"),
        ({"findings": ["empty"]}, "folders without a record: there is no weak source"),
        ({"fit_cases": "cases"}, "fit_cases and fit_candidates belong together"),
        ({"concepts": ["nose"]}, "concept 'nose' is not in"),
        ({"l2": 0.0}, "l2 is 0.0"),
        ({"folds": 1}, "1 folds of 4 groups"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(world, settings, message):
    cases = world.cases(numbers=range(4))
    candidates = world.answers({i: truth(i) for i in range(4)})
    given = {"findings": [world.findings({0: 0})], **settings}
    if given["findings"] == ["empty"]:
        given["findings"] = [world.findings({}, "empty")]
    with pytest.raises(ValueError, match=message):
        HarmonisedRisk(LOGIC, cases, candidates, **given)


def test_pixels_and_a_models_vision_tower_give_each_case_its_own_features(world, tmp_path):
    from vlmalign.models import build_tiny_llava, save_vlm
    from vlmalign.records import Case, RecordFolder

    vlm = build_tiny_llava(
        ["A leukocyte."], image_size=32, patch_size=16, hidden=32, layers=1, vision_hidden=16, vision_layers=1,
        heads=2, vocab_size=300,
    )  # fmt: skip
    save_vlm(vlm, tmp_path / "tiny")
    folder = RecordFolder(world.cases(numbers=range(2)), Case)
    cases = list(folder)
    pixels, vision = CaseFeatures().of(folder, cases), CaseFeatures(tmp_path / "tiny", device="cpu")
    assert pixels.shape == (2, 192) and pixels[0][:3] == pytest.approx([200 / 255, 90 / 255, 90 / 255])
    found = vision.of(folder, cases)
    assert found.shape == (2, 32) and abs(found[0] - found[1]).max() > 0
    assert all(math.isfinite(value) for value in found.ravel())
    assert vision.digest == CaseFeatures(tmp_path / "tiny", device="cpu").digest != CaseFeatures().digest
