import math
from types import SimpleNamespace

import pytest
from PIL import Image

from vlmalign.records import DatasetBuild, read_manifest
from vlmalign.rewards import ExpertVerifiedReward, load_reward, score_pairs
from vlmalign.rewards.audit import score_variant
from vlmalign.rewards.calibrated import CalibratedReward
from vlmalign.rewards.calibration_file import Calibration
from vlmalign.rewards.process import ProcessReward
from vlmalign.rewards.rollout_turns import RolloutTurns
from vlmalign.rewards.variants import SEEN


@pytest.fixture
def expert(make, tmp_path):
    """An expert that is fairly sure of a leukocyte, and unsure how many platelets there are."""
    with DatasetBuild(tmp_path / "findings", "finding", {}) as build:
        ref = build.add_image(Image.new("RGB", (8, 8)))
        build.commit("0", [
            make.finding("leukocyte_count", 1.0, image=ref, probability=0.9),
            make.finding("platelet_count", 2.0, image=ref, std=3.0),
        ])  # fmt: skip
    seen = make.case(image=ref)
    return ExpertVerifiedReward(
        "peripheral_smear", tmp_path / "findings", concepts=["leukocyte", "platelets"]
    ), seen


def test_claims_agree_or_disagree_with_what_the_expert_settles(expert, make):
    reward, case = expert
    candidates = [make.candidate("A leukocyte is present."), make.candidate("No leukocyte is seen.", n=1)]
    output = reward.score([case, case], candidates)
    assert output.mean == (1.0, -1.0)
    assert reward.experts == ("cells@1",)


def test_the_experts_doubt_is_the_standard_deviation(expert, make):
    reward, case = expert
    output = reward.score([case], [make.candidate("A leukocyte is present.")])
    assert output.std[0] == pytest.approx(2 * math.sqrt(0.9 * 0.1))  # the claim moves by 2, one concept known


def test_an_uncertain_finding_counts_neither_for_nor_against(expert, make):
    reward, case = expert
    texts = ("A leukocyte is present.", "A leukocyte is present. Many platelets are seen.")
    output = reward.score([case, case], [make.candidate(text, n=n) for n, text in enumerate(texts)])
    assert output.mean[0] == output.mean[1] == 1.0
    assert output.components["unverified"] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "seen", "reason"),
    [
        ("Many platelets are seen.", True, "no claim about a concept that the expert settles"),
        ("The stain of the field is pale.", True, "no claim about a concept that the expert settles"),
        ("Lovely weather.", True, "no claim parsed"),
        ("A leukocyte is present.", False, "the expert has no finding on these images"),
    ],
)
def test_an_answer_of_which_nothing_can_be_checked_is_invalid(expert, make, text, seen, reason):
    reward, case = expert
    output = reward.score([case if seen else make.case(i=0)], [make.candidate(text)])
    assert output.valid == (False,) and output.reasons == (reason,)
    assert math.isnan(output.mean[0]) and math.isnan(output.std[0])


def test_an_expert_is_seen_behind_every_wrapper(expert, tmp_path):
    findings = {"logic": "peripheral_smear", "findings": str(tmp_path / "findings")}
    plain = load_reward("expert_verified", **findings)
    temperature = {"method": "temperature", "slope": 1.0}
    fitted = Calibration(
        judge=plain.name, target="answer", calibrator=temperature, per_group="all", n=9, n_groups=9
    )
    for wrapped in (
        CalibratedReward(plain, fitted),
        load_reward("nuisance", reward="expert_verified", settings=findings, questions=["What is seen?"]),
        ProcessReward("logic", settings=findings),
        ProcessReward("reward", settings={"reward": "expert_verified", "settings": findings}),
        ProcessReward(RolloutTurns(object_named("policy@1"), **findings)),
    ):
        assert wrapped.experts == ("cells@1",), wrapped.name
    assert ProcessReward("logic", settings={"logic": "peripheral_smear"}).experts == ()


def object_named(name):
    return SimpleNamespace(name=name)


def test_scores_of_pairs_and_of_their_variants_say_which_expert_is_behind_them(expert, pair_folder, tmp_path):
    reward, _ = expert
    for out in (
        score_pairs(reward, pair_folder, tmp_path / "judged"),
        score_variant(reward, pair_folder, SEEN, tmp_path / "seen"),
    ):
        assert read_manifest(out).config["experts"] == ["cells@1"]
