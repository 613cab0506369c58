from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from vlmalign.models import LoraSettings, RewardModel, load_vlm, save_vlm


def last_token_rewards(reward, model, batch):
    """The head on the last hidden state of one unpadded call per response."""
    values = []
    for n, prompt in enumerate(batch.prompt_index.tolist()):
        real = batch.prompts["attention_mask"][prompt].bool()
        answer = batch.response_ids[n][batch.response_mask[n]]
        ids = torch.cat([batch.prompts["input_ids"][prompt][real], answer])[None]
        pixels = batch.prompts["pixel_values"][prompt : prompt + 1]
        values.append(reward.head(model.model(input_ids=ids, pixel_values=pixels).last_hidden_state[0, -1]))
    return torch.cat(values)


@pytest.mark.parametrize("mode", ["packed", "plain", "cached"])
def test_the_reward_is_read_at_the_last_real_token(vlm, batch, mode):
    reward = RewardModel(vlm)
    with torch.no_grad():
        torch.testing.assert_close(
            reward(batch, mode), last_token_rewards(reward, vlm.model, batch), atol=1e-5, rtol=0
        )


def test_more_padding_on_the_right_does_not_change_the_reward(vlm, batch):
    reward = RewardModel(vlm)

    def wider(value):
        return torch.nn.functional.pad(value, (0, 3))

    padded = replace(
        batch,
        response_ids=wider(batch.response_ids),
        response_mask=wider(batch.response_mask),
        loss_mask=wider(batch.loss_mask),
    )
    torch.testing.assert_close(reward(padded), reward(batch), atol=1e-5, rtol=0)


def test_every_parameter_of_the_reward_model_can_learn_but_the_unused_class_token_norm(fresh_vlm, batch):
    reward = RewardModel(fresh_vlm)
    reward(batch).sum().backward()
    without = {name for name, parameter in reward.named_parameters() if parameter.grad is None}
    assert all("post_layernorm" in name for name in without)  # CLIP's pooled output, which LLaVA leaves out
    assert not any("lm_head" in name for name, _ in reward.named_parameters())


def test_a_saved_reward_model_scores_the_same_when_loaded(vlm, batch, tmp_path):
    reward = RewardModel(vlm)
    with torch.no_grad():
        reward.head.bias.fill_(0.5)
    reward.save(tmp_path / "reward")
    loaded = RewardModel.load(tmp_path / "reward")
    assert torch.equal(loaded(batch), reward(batch))
    assert loaded.processor.tokenizer.get_vocab() == vlm.tokenizer.get_vocab()


def test_lora_is_merged_into_a_saved_reward_model(vlm, batch, tmp_path):
    save_vlm(vlm, tmp_path / "vlm")
    reward = RewardModel(load_vlm(tmp_path / "vlm", lora=LoraSettings(r=2)))
    with torch.no_grad():
        for name, parameter in reward.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    trained = {name for name, parameter in reward.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or name.startswith("head.") for name in trained) and "head.weight" in trained
    reward.save(tmp_path / "reward")
    loaded = RewardModel.load(tmp_path / "reward", lora=LoraSettings(r=2))
    torch.testing.assert_close(loaded(batch), reward(batch), atol=1e-5, rtol=0)
    assert any("lora_" in name for name, _ in loaded.named_parameters())


def test_a_language_model_is_not_loaded_as_a_reward_model(vlm, tmp_path):
    save_vlm(vlm, tmp_path / "vlm")
    with pytest.raises(ValueError, match=r"has no reward_head\.safetensors"):
        RewardModel.load(tmp_path / "vlm")


def test_a_head_of_another_width_is_refused(vlm, tmp_path):
    RewardModel(vlm).save(tmp_path / "reward")
    head = load_file(tmp_path / "reward" / "reward_head.safetensors") | {"weight": torch.zeros(1, 7)}
    save_file(head, tmp_path / "reward" / "reward_head.safetensors")
    with pytest.raises(ValueError, match=r"has shape \(1, 7\), expected \(1, 32\)"):
        RewardModel.load(tmp_path / "reward")
