import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vlmalign.data.nuisance import perturb_image, perturb_pixels
from vlmalign.records import Judgement, RecordFolder
from vlmalign.records.scores import margin_std
from vlmalign.rewards import RewardOutput, load_reward, score_pairs
from vlmalign.rewards.nuisance import NuisanceReward

GREY = Image.new("RGB", (40, 32), (120, 120, 120))


class Brightness:
    """Scores answers by how bright the picture is, and `touchy` ones by that of its first pixel."""

    name, needs_images = "brightness@1", True

    def score(self, cases, candidates, images=None):
        scores = []
        for answer, pictures in zip(candidates, images, strict=True):
            pixels = np.asarray(pictures[0], dtype=float)
            scores.append(
                None if "no" in answer.text else (pixels[0, 0, 0] if "touchy" in answer.text else pixels.mean())
            )
        return RewardOutput.of(scores, reasons=["said no" if s is None else None for s in scores], flops=1.0)


@pytest.fixture
def nuisance(monkeypatch):
    monkeypatch.setattr("vlmalign.rewards.nuisance.load_reward", lambda name: Brightness())
    return NuisanceReward("brightness", views=6, noise=0.05, crop=0.0)


def test_what_a_nuisance_moves_is_doubted_and_what_it_does_not_is_not(nuisance, make):
    cases = [make.case(), make.case()]
    steady = [make.candidate("steady", n=0), make.candidate("steady", n=1)]
    other = [make.candidate("steady", n=2), make.candidate("touchy", n=3)]
    found = nuisance.score_margins(cases, steady, other, [[GREY], [GREY]])
    assert found.std[0] == 0.0  # all answers to a case are seen with the same changed pictures
    assert 5 < found.std[1] < 40  # noise of 0.05 * 255 on one pixel
    assert found.firsts.mean == (120.0, 120.0) and found.firsts.flops == 7.0


def test_alone_an_answer_has_no_known_doubt_and_the_unchanged_score(nuisance, make):
    output = nuisance.score([make.case()], [make.candidate("touchy")], [[GREY]])
    assert output.mean == (120.0,) and math.isnan(output.std[0])


def test_an_answer_that_cannot_be_scored_stays_so(nuisance, make):
    output = nuisance.score([make.case()], [make.candidate("no")], [[GREY]])
    assert output.valid == (False,) and output.reasons == ("said no",)


def test_views_are_the_same_again(nuisance, make):
    pair = [make.case()], [make.candidate("touchy")], [make.candidate("steady")], [[GREY]]
    assert nuisance.score_margins(*pair).std == nuisance.score_margins(*pair).std


def test_a_reward_that_looks_at_nothing_needs_paraphrases():
    with pytest.raises(ValueError, match="looks at no picture"):
        load_reward("nuisance", reward="symbolic", settings={"logic": "peripheral_smear"})


def test_nothing_that_changes_is_refused():
    with pytest.raises(ValueError, match="something that changes"):
        NuisanceReward("symbolic", {"logic": "peripheral_smear"}, noise=0, crop=0)


def test_a_crop_keeps_the_size_and_moves_edges():
    image = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1)))
    changed = perturb_image(image, np.random.default_rng(1), noise=0.0, crop=0.2)
    assert changed.size == image.size
    assert np.asarray(changed)[:, 0].mean() > np.asarray(image)[:, 0].mean()  # the left edge was cut


def test_pictures_in_pieces_are_not_cropped():
    import torch

    with pytest.raises(ValueError, match=r"set nuisance.crop to 0"):
        perturb_pixels({"pixel_values": torch.zeros(10, 48)}, torch.Generator(), noise=0.0, crop=0.1)


class Doubting(Brightness):
    """The same, with doubt and members of its own."""

    def score(self, cases, candidates, images=None):
        found = super().score(cases, candidates, images)
        own = {"member_0": found.mean, "member_1": tuple(9.0 * n for n in range(len(found))), "part": found.mean}
        return replace(found, std=(50.0,) * len(found), components=own)


def test_the_doubt_that_a_reward_has_of_its_own_is_not_taken_for_that_of_its_views(
    monkeypatch, make, pair_folder, tmp_path
):
    monkeypatch.setattr("vlmalign.rewards.nuisance.load_reward", lambda name: Doubting())
    doubting = NuisanceReward("brightness", views=2, noise=0.05, crop=0.0)
    output = doubting.score([make.case()], [make.candidate("touchy")], [[GREY]])
    assert math.isnan(output.std[0]) and set(output.components) == {"part", "member_0", "member_1", "member_2"}
    assert output.components["member_0"] == output.mean and output.components["member_1"] != output.mean
    judged = list(RecordFolder(score_pairs(doubting, pair_folder, tmp_path / "out"), Judgement))
    assert margin_std(*judged) == judged[0].components["margin_std"] == 0.0  # both see the same views
    assert judged[0].std is None


def test_two_pictures_under_one_case_are_not_taken_for_each_other(nuisance, make):
    other = Image.new("RGB", (40, 32), (30, 30, 30))
    cases = [make.case(image=make.image_ref(n)) for n in range(2)]
    belief, _ = nuisance.believe(cases, [make.candidate("a"), make.candidate("b", n=1)], [[GREY], [other]])
    assert belief.draws[0].min() > 110 and belief.draws[1].max() < 40
