import math

import numpy as np
import pytest
from PIL import Image

from vlmalign.data.nuisance import perturb_image, perturb_pixels
from vlmalign.rewards import RewardOutput, load_reward
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
    monkeypatch.setattr("vlmalign.rewards.registry.load_reward", lambda name: Brightness())
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
