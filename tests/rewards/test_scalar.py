import math

import pytest
from PIL import Image

from vlmalign.rewards import ScalarReward

RED, BLUE = (Image.new("RGB", (32, 32), colour) for colour in ((220, 30, 30), (20, 30, 200)))


@pytest.fixture
def four(make):
    """Two cases with two answers each, of different lengths."""
    cases = [make.case(i=0), make.case(i=0), make.case(i=1), make.case(i=1)]
    texts = ["No.", "A leukocyte is present, and it is large."] * 2
    candidates = [make.candidate(text, i=k // 2, n=k % 2) for k, text in enumerate(texts)]
    return cases, candidates, [[RED], [RED], [BLUE], [BLUE]]


def test_a_score_depends_on_image_and_answer_but_not_on_the_batch(reward_run, four):
    together = ScalarReward(reward_run).score(*four)
    alone = ScalarReward(reward_run, batch_size=1).score(*four)
    assert together.mean == pytest.approx(alone.mean, abs=1e-5)
    assert len({round(mean, 4) for mean in together.mean}) == 4
    assert all(together.valid) and all(math.isnan(std) for std in together.std)


def test_with_blank_images_only_the_text_is_left(reward_run, four):
    reward = ScalarReward(reward_run, blank_images=True)
    mean = reward.score(*four).mean
    assert mean[0] == pytest.approx(mean[2], abs=1e-6) and mean[1] == pytest.approx(mean[3], abs=1e-6)
    assert abs(mean[0] - mean[1]) > 1e-4
    assert reward.name == ScalarReward(reward_run).name + "-blank"


def test_a_run_and_its_model_folder_are_the_same_reward(reward_run):
    assert ScalarReward(reward_run).name == ScalarReward(reward_run / "model").name


def test_images_must_be_given(reward_run, four):
    with pytest.raises(ValueError, match="looks at the images"):
        ScalarReward(reward_run).score(four[0], four[1])


def test_a_score_that_is_no_number_is_invalid(reward_run, four):
    reward = ScalarReward(reward_run)
    reward.model.head.bias.data.fill_(math.inf)
    output = reward.score(*four)
    assert not any(output.valid) and output.reasons[0] == "the model's score is not finite"
