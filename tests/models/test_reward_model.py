import copy
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from vlmalign.models import LoraSettings, RewardModel, load_vlm, save_vlm
from vlmalign.models.member_lora import MemberLinear, MemberLora
from vlmalign.models.reward_head import HeadSettings


def last_token_rewards(reward, model, batch):
    """The head on the last hidden state of one unpadded call per response."""
    values = []
    for n, prompt in enumerate(batch.prompt_index.tolist()):
        real = batch.prompts["attention_mask"][prompt].bool()
        answer = batch.response_ids[n][batch.response_mask[n]]
        ids = torch.cat([batch.prompts["input_ids"][prompt][real], answer])[None]
        pixels = batch.prompts["pixel_values"][prompt : prompt + 1]
        hidden = model.model(input_ids=ids, pixel_values=pixels).last_hidden_state
        values.append(reward.head(hidden[0, -1:]))
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
    head = load_file(tmp_path / "reward" / "reward_head.safetensors") | {"weight": torch.zeros(1, 1, 7)}
    save_file(head, tmp_path / "reward" / "reward_head.safetensors")
    with pytest.raises(ValueError, match=r"weight has shape \(1, 1, 7\), expected \(1, 1, 32\)"):
        RewardModel.load(tmp_path / "reward")


def test_a_head_of_another_backbone_is_refused(vlm, tmp_path):
    RewardModel(vlm).save(tmp_path / "reward")
    path = tmp_path / "reward" / "reward_head.json"
    path.write_text(path.read_text().replace('"hidden_size": 32', '"hidden_size": 64'))
    with pytest.raises(ValueError, match="reads 64 numbers and the model gives 32"):
        RewardModel.load(tmp_path / "reward")


def test_pickled_heads_are_refused_and_not_read(vlm, tmp_path):
    RewardModel(vlm).save(tmp_path / "reward")
    (tmp_path / "reward" / "reward_head.safetensors").rename(tmp_path / "reward" / "reward_head.bin")
    with pytest.raises(ValueError, match=r"reward_head\.bin, pickled weights"):
        RewardModel.load(tmp_path / "reward")


def test_members_with_adapters_score_as_each_would_alone(fresh_vlm, batch):
    frozen = copy.deepcopy(fresh_vlm)
    members = RewardModel(fresh_vlm, HeadSettings(members=2), member_lora=MemberLora(members=2, rank=2)).eval()
    with torch.no_grad():
        for name, parameter in members.backbone.named_parameters():
            if name.endswith("member_b"):
                parameter.normal_(std=0.3)
    together = members(batch)
    assert (together[:, 0] - together[:, 1]).abs().min() > 1e-3
    for k in range(2):
        alone = copy.deepcopy(frozen)
        layers = dict(alone.model.named_modules())
        for name, layer in members.backbone.named_modules():
            if isinstance(layer, MemberLinear):
                update = layer.scale * layer.member_b[k] @ layer.member_a[k]
                layers[f"model.{name}"].weight.data += update.detach()
        states = RewardModel(alone).eval().states(batch)
        expected = states @ members.head.weight[k, 0] + members.head.bias[k, 0]
        torch.testing.assert_close(together[:, k, 0], expected, atol=1e-4, rtol=1e-4)


def test_adapters_of_members_survive_saving(fresh_vlm, batch, tmp_path):
    members = RewardModel(fresh_vlm, HeadSettings(members=3), member_lora=MemberLora(members=3, rank=2)).eval()
    with torch.no_grad():
        for name, parameter in members.backbone.named_parameters():
            if name.endswith("member_b"):
                parameter.normal_(std=0.1)
    members.save(tmp_path / "reward")
    loaded = RewardModel.load(tmp_path / "reward")
    for mode in ("packed", "cached", "plain"):
        torch.testing.assert_close(loaded(batch, mode), members(batch), atol=1e-5, rtol=1e-4)


def test_images_are_computed_once_for_all_members(fresh_vlm, batch):
    members = RewardModel(fresh_vlm, HeadSettings(members=4), member_lora=MemberLora(members=4, rank=1)).eval()
    members(batch)
    assert members._features.counts["computed"] == len(batch.prompts["pixel_values"])


def test_only_adapters_and_heads_of_members_learn(fresh_vlm, batch):
    members = RewardModel(fresh_vlm, HeadSettings(members=2), member_lora=MemberLora(members=2, rank=1))
    members(batch).sum().backward()
    learning = {name for name, parameter in members.named_parameters() if parameter.requires_grad}
    assert all(".member_" in name or name.startswith("head.") for name in learning)
    assert all(members.get_parameter(name).grad is not None for name in learning)


def test_as_many_adapters_as_heads_are_asked_for(fresh_vlm):
    with pytest.raises(ValueError, match="member_lora has 3 members and the head 2"):
        RewardModel(fresh_vlm, HeadSettings(members=2), member_lora=MemberLora(members=3))


def test_each_members_update_is_alpha_over_rank_times_its_own_two_factors():
    layer = MemberLinear(torch.nn.Linear(3, 2), MemberLora(members=2, rank=4, alpha=8), torch.Generator())
    torch.nn.init.normal_(layer.member_b)
    rows = torch.randn(2, 5, 3)  # one row of five tokens for each member
    by_hand = [2 * rows[k] @ layer.member_a[k].T @ layer.member_b[k].T for k in range(2)]
    torch.testing.assert_close(layer(rows) - layer.base_layer(rows), torch.stack(by_hand))
