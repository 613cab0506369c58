import math

import pytest
import torch
from PIL import Image

from vlmalign.models import RewardModel, build_tiny_llava
from vlmalign.models.laplace import LastLayerLaplace
from vlmalign.models.member_lora import MemberLora
from vlmalign.models.reward_head import HeadSettings
from vlmalign.records import DataError, DatasetBuild, Judgement, RecordFolder
from vlmalign.records.scores import margin_std
from vlmalign.rewards import ScalarReward, score_pairs
from vlmalign.rewards.anchors import Anchors
from vlmalign.rewards.audit import score_variant
from vlmalign.rewards.variants import SEEN

RED, BLUE = (Image.new("RGB", (32, 32), colour) for colour in ((220, 30, 30), (20, 30, 200)))


@pytest.fixture(scope="module")
def make_run(tmp_path_factory):
    def make(*, lora=False, laplace=False, **head):
        vlm = build_tiny_llava(
            ["A leukocyte is present."], image_size=32, patch_size=16, hidden=32, layers=2, vision_hidden=32,
            vision_layers=2, heads=2, vocab_size=300,
        )  # fmt: skip
        settings = HeadSettings(**head)
        model = RewardModel(vlm, settings, member_lora=MemberLora(settings.members, rank=2) if lora else None)
        if laplace:
            model.laplace = LastLayerLaplace.fit(torch.randn(9, 32), torch.zeros(32))
        run = tmp_path_factory.mktemp("reward")
        model.save(run / "model")
        return run

    return make


@pytest.fixture
def two_pairs(make):
    cases = [make.case(i=0), make.case(i=1)]
    firsts = [make.candidate("No leukocyte.", i=i, n=0) for i in range(2)]
    seconds = [make.candidate("A leukocyte is present, and large.", i=i, n=1) for i in range(2)]
    return cases, firsts, seconds, [[RED], [BLUE]]


@pytest.fixture
def anchors(make, tmp_path):
    """A greedy answer to the first case only."""

    def write(*records):
        with DatasetBuild(tmp_path / "anchors", "candidate", {}) as build:
            for record in records:
                build.commit(record.id, [record])
        return tmp_path / "anchors"

    return write


def greedy(make, text="No leukocyte.", **fields):
    return make.candidate(text, **fields).model_copy(
        update={"sampling": make.candidate("x").sampling.model_copy(update={"temperature": 0.0})}
    )


KINDS = {
    "members": {"members": 4},
    "adapters": {"members": 3, "lora": True},
    "gaussian": {"outputs": "gaussian"},
    "evidence": {"outputs": "evidence"},
    "laplace": {"laplace": True},
    "dropout": {"dropout": 0.3},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_doubts_differences_but_never_an_answer_against_itself(make_run, two_pairs, kind):
    reward = ScalarReward(make_run(**KINDS[kind]), uncertainty="dropout" if kind == "dropout" else "auto")
    cases, firsts, seconds, images = two_pairs
    found = reward.score_margins(cases, firsts, seconds, images)
    assert all(std > 0 for std in found.std)
    same = reward.score_margins(cases, firsts, firsts, images)
    if kind not in ("gaussian", "evidence"):  # there two judgements of one answer do differ
        assert same.std == pytest.approx([0.0, 0.0], abs=1e-5)
    assert found.firsts.mean == pytest.approx(same.firsts.mean, abs=1e-5)


def test_a_plain_model_knows_no_doubt_and_none_can_be_asked_of_it(make_run, two_pairs):
    run = make_run()
    assert all(math.isnan(std) for std in ScalarReward(run).score_margins(*two_pairs).std)
    for kind in ("members", "head", "laplace", "dropout"):
        with pytest.raises(ValueError, match=f"uncertainty is '{kind}'"):
            ScalarReward(run, uncertainty=kind)


def test_an_anchored_score_is_the_difference_to_the_anchor(make_run, two_pairs, anchors, make):
    cases, firsts, seconds, images = two_pairs
    folder = anchors(*(greedy(make, i=i, n=9) for i in range(2)))
    run = make_run(members=4)
    anchored = ScalarReward(run, anchors=folder).score(cases, seconds, images)
    plain = ScalarReward(run).score_margins(cases, firsts, seconds, images)
    expected = [b - a for a, b in zip(plain.firsts.mean, plain.seconds.mean, strict=True)]
    assert anchored.mean == pytest.approx(expected, abs=1e-5)
    assert anchored.std == pytest.approx(plain.std, abs=1e-5)
    own = ScalarReward(run, anchors=folder).score(cases, firsts, images)
    assert own.mean == pytest.approx([0, 0], abs=1e-5) and own.std == pytest.approx([0, 0], abs=1e-5)


def test_a_case_without_an_anchor_cannot_be_scored(make_run, two_pairs, anchors, make):
    cases, firsts, _, images = two_pairs
    output = ScalarReward(make_run(members=2), anchors=anchors(greedy(make, i=0))).score(cases, firsts, images)
    assert output.valid == (True, False) and "no anchor" in output.reasons[1]


def test_anchors_must_be_greedy_and_one_for_each_case(make, anchors):
    with pytest.raises(DataError, match="was sampled at temperature 1.0"):
        Anchors(anchors(make.candidate("No.")))


def test_two_anchors_of_one_case_are_refused(make, anchors):
    folder = anchors(greedy(make, n=0), greedy(make, "Yes.", n=1))
    with pytest.raises(DataError, match="case 'c0' has two anchors"):
        Anchors(folder)


def test_the_name_tells_apart_where_the_doubt_comes_from(make_run, anchors, make):
    run = make_run(members=2)
    folder = anchors(greedy(make))
    names = {
        ScalarReward(run).name,
        ScalarReward(run, uncertainty="none").name,
        ScalarReward(run, anchors=folder).name,
    }
    assert len(names) == 3


def test_judged_pairs_carry_the_deviation_of_their_margin(make_run, pair_folder, tmp_path):
    score_pairs(ScalarReward(make_run(members=3)), pair_folder, tmp_path / "judged")
    judged = list(RecordFolder(tmp_path / "judged", Judgement))
    chosen, rejected = judged[:2]
    members = [chosen.components[f"member_{k}"] - rejected.components[f"member_{k}"] for k in range(3)]
    assert margin_std(chosen, rejected) == pytest.approx(torch.tensor(members).std().item(), abs=1e-5)
    assert chosen.components["margin_std"] == pytest.approx(margin_std(chosen, rejected), abs=1e-5)
    assert chosen.std is None


def test_an_audit_asks_for_pairs_as_scoring_does(make_run, pair_folder, tmp_path):
    out = score_variant(ScalarReward(make_run(members=3)), pair_folder, SEEN, tmp_path / "seen")
    assert all(judgement.components["margin_std"] > 0 for judgement in RecordFolder(out, Judgement))


def test_a_doubting_heads_variance_is_that_of_all_its_dropout_masks(make_run, two_pairs):
    reward = ScalarReward(make_run(dropout=0.5, outputs="gaussian"), uncertainty="dropout", draws=3)
    there = reward.score_margins(*two_pairs).std
    reward._masks.reverse()
    assert reward.score_margins(*two_pairs).std == pytest.approx(there, rel=1e-5)
