import torch

from vlmalign.models import LoraSettings, forward_responses
from vlmalign.models.actor_critic import ActorCritic
from vlmalign.models.loading import add_lora


def with_critic(model, **settings):
    actor = ActorCritic(model, **settings)
    if actor.critic is not None:
        torch.nn.init.normal_(actor.critic.weight)
    return actor


def test_a_value_does_not_know_the_token_that_is_chosen_next(vlm, batch):
    actor = with_critic(vlm.model)
    with torch.no_grad():
        before = actor(batch).values
        changed = batch.response_ids.clone()
        changed[:, 1] = (changed[:, 1] + 1) % 40 + 10
        after = actor(type(batch)(**{**vars(batch), "response_ids": changed})).values
    torch.testing.assert_close(before[:, :2], after[:, :2], atol=1e-5, rtol=0)
    longer = batch.response_mask[:, 2]
    assert (before[longer, 2] - after[longer, 2]).abs().max() > 1e-4
    assert not before[~batch.response_mask].any()


def test_log_probabilities_are_those_of_the_policy_alone(vlm, batch):
    with torch.no_grad():
        found = with_critic(vlm.model)(batch, temperature=1.3)
        alone = forward_responses(vlm.model, batch, temperature=1.3).logps
    assert torch.equal(found.logps, alone)
    assert ActorCritic(vlm.model, critic=False)(batch).values is None


def test_without_adapters_it_is_the_model_they_were_added_to(fresh_vlm, batch):
    with torch.no_grad():
        start = forward_responses(fresh_vlm.model, batch).logps
        adapted = add_lora(fresh_vlm.model, LoraSettings(r=4))
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        actor = with_critic(adapted)
        reference = actor(batch, without_adapters=True)
        assert reference.values is None
        torch.testing.assert_close(reference.logps, start, atol=1e-5, rtol=0)
        assert (actor(batch).logps - start).abs().max() > 1e-3


def test_a_detached_critic_learns_and_leaves_the_backbone_alone(fresh_vlm, batch):
    for detach in (True, False):
        actor = with_critic(fresh_vlm.model, detach=detach)
        actor.zero_grad()
        actor(batch).values.sum().backward()
        moved = [p.grad is not None and bool(p.grad.any()) for p in fresh_vlm.model.parameters()]
        assert actor.critic.weight.grad.any() and any(moved) == (not detach)


def test_values_are_in_single_precision_where_the_policy_is_computed_in_bfloat16(vlm, batch):
    actor, read = with_critic(vlm.model), []
    actor.critic.register_forward_pre_hook(lambda module, states: read.append(states[0]))
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            found = actor(batch).values
        exact = torch.where(batch.response_mask, actor.critic(read[0])[..., 0], 0.0)
    assert found.dtype == torch.float32 and torch.equal(found, exact)
