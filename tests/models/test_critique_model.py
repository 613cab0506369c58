import json

import pytest
import torch
from PIL import Image

from vlmalign.data import Example, collate, encode_prompt, pad_token
from vlmalign.data.critique import encode_judged
from vlmalign.models import LoraSettings, PromptBatch, RewardModel, forward_responses, load_vlm, save_vlm
from vlmalign.models.critique_model import CritiqueModel
from vlmalign.models.reward_head import HeadSettings
from vlmalign.records import assistant, user


@pytest.fixture
def judged(batch):
    """Of each response the last two tokens are the critique."""
    ends = batch.response_mask.sum(1, keepdim=True)
    place = torch.arange(batch.response_ids.shape[1])
    return PromptBatch(
        batch.prompts, batch.response_ids, batch.response_mask, batch.response_mask & (place >= ends - 2),
        batch.prompt_index,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["packed", "plain", "cached"])
def test_one_forward_gives_what_the_reward_model_and_the_language_model_give_apart(vlm, judged, mode):
    critic = CritiqueModel(vlm, request="r@1").eval()
    with torch.no_grad():
        both = critic(judged, mode)
        alone = RewardModel(vlm).eval()(judged, mode)  # its head begins alike
        torch.testing.assert_close(both.outputs, alone, atol=1e-5, rtol=0)
        torch.testing.assert_close(both.logps, forward_responses(vlm.model, judged).logps, atol=1e-5, rtol=0)


def test_the_mean_is_over_the_critique_and_not_over_the_answer(vlm, judged):
    critic = CritiqueModel(vlm, HeadSettings(pooling="mean"), request="r@1").eval()
    with torch.no_grad():
        hidden = forward_responses(vlm.model, judged, hidden=True).hidden
        states = torch.stack([row[mask].mean(0) for row, mask in zip(hidden, judged.loss_mask, strict=True)])
        torch.testing.assert_close(critic(judged).outputs, critic.head(states), atol=1e-5, rtol=0)


def test_head_only_leaves_the_language_model_without_gradient(fresh_vlm, judged):
    critic = CritiqueModel(fresh_vlm, request="r@1")
    critic(judged, head_only=True).outputs.sum().backward()
    moved = {name for name, parameter in critic.named_parameters() if parameter.grad is not None}
    assert moved == {"head.weight", "head.bias"}


def test_it_is_saved_whole_with_adapters_merged_and_still_speaks(vlm, judged, tmp_path):
    save_vlm(vlm, tmp_path / "vlm")
    critic = CritiqueModel(load_vlm(tmp_path / "vlm", lora=LoraSettings(r=2)), request="r@1").eval()
    with torch.no_grad():
        for name, parameter in critic.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        critic.save(tmp_path / "critic")
        loaded = CritiqueModel.load(tmp_path / "critic")
        for ours, theirs in zip(loaded(judged), critic(judged), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        spoken = forward_responses(load_vlm(tmp_path / "critic").model, judged).logps
    torch.testing.assert_close(spoken, loaded(judged).logps, atol=1e-6, rtol=0)
    assert loaded.request == "r@1"
    assert {path.suffix for path in (tmp_path / "critic").iterdir()} <= {".safetensors", ".json", ".jinja"}


def test_a_critique_model_and_a_reward_model_are_not_taken_for_one_another(vlm, tmp_path):
    CritiqueModel(vlm, request="r@1").save(tmp_path / "critic")
    RewardModel(vlm).save(tmp_path / "scalar")
    with pytest.raises(ValueError, match="holds a critique reward model, expected a scalar one"):
        RewardModel.load(tmp_path / "critic")
    with pytest.raises(ValueError, match="holds a scalar reward model, expected a critique one"):
        CritiqueModel.load(tmp_path / "scalar")
    with pytest.raises(ValueError, match="holds a reward model, expected a language model"):
        load_vlm(tmp_path / "scalar")


def test_a_head_of_another_width_is_refused(vlm, tmp_path):
    CritiqueModel(vlm, request="r@1").save(tmp_path / "critic")
    file = tmp_path / "critic" / "reward_head.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "hidden_size": 7}))
    with pytest.raises(ValueError, match="reads 7 numbers"):
        CritiqueModel.load(tmp_path / "critic")


def test_every_family_scores_judged_answers_alike_in_all_modes(family):
    """Two answers to one picture, each with its critique, in one packed row."""
    prompt = (user("What is seen?", images=1),)
    encoded = encode_prompt(family.processor, prompt, [Image.new("RGB", (28, 28), (200, 40, 90))])
    responses = tuple(
        encode_judged(family.processor, prompt, (assistant(answer),), critique, record="r")
        for answer, critique in (("A cell.", "Right."), ("None at all.", "Wrong, there is one."))
    )
    batch = collate([Example("e", encoded, responses)], pad_token(family.processor))["batch"]
    critic = CritiqueModel(family, HeadSettings(pooling="mean"), request="r@1").eval()
    with torch.no_grad():
        packed, cached, plain = (critic(batch, mode) for mode in ("packed", "cached", "plain"))
    for other in (packed, cached):
        torch.testing.assert_close(other.outputs, plain.outputs, atol=1e-4, rtol=0)
        torch.testing.assert_close(other.logps, plain.logps, atol=1e-4, rtol=0)
    assert not torch.allclose(plain.outputs[0], plain.outputs[1])
