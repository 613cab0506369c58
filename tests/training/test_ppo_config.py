import pytest

from vlmalign.records.suggestions import SettingsError
from vlmalign.training import PpoConfig, make_config

BASE = {"model": "m", "data": "d", "out": "o", "max_steps": 1, "reward": "symbolic"}


def test_a_name_is_enough_for_a_reward_and_an_advantage():
    config = make_config(PpoConfig, {**BASE, "advantage": "group"})
    assert config.reward.name == "symbolic" and config.advantage.name == "group" and config.advantage.scale


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"advantage": "grup"}, "unknown advantage 'grup'. Did you mean 'group'"),
        ({"advantage": "group", "samples": 1}, "samples is 1 and advantage 'group' compares a case's answers"),
        ({"advantage": {"name": "group", "lam": 1}}, "unknown key 'advantage.group.lam'. Known keys: name, scale"),
        ({"advantage": "group", "shaping": {"steps": "delta"}}, "sees only the sum of an answer's steps"),
        ({"shaping": {"steps": "sum", "pessimism": 1.0}}, "steps is 'sum' and pessimism works on the one score"),
        ({"shaping": {"step": "sum"}}, "unknown key 'shaping.step'. Did you mean 'steps'"),
        ({"kl": {"place": "loss", "estimator": "k1"}}, "estimator k1 in the loss has an expected gradient of 0"),
        ({"kl": {"coefficient": 0, "target": 3.0}}, "target adapts the coefficient, which is 0"),
        ({"kl": {"budget": 3.0}}, "kl.budget chooses among evaluated checkpoints and eval_data is empty"),
        (
            {"batch_size": 6, "minibatches": 4},
            "batch_size is 6 cases and minibatches x gradient_accumulation is 4",
        ),
        ({"lora": {"dropout": 0.1}}, "lora.dropout is 0.1: the ratio of new and old policy would be noise"),
        ({"rollouts": "vllm"}, "rollouts is 'vllm', which is handed adapters, and lora is not set: set it"),
        ({"rollouts": "vllm", "lora": {}, "device": "cpu"}, "needs a GPU, and device is 'cpu'"),
        ({"temperature": 0}, "key 'temperature' is 0"),
        ({"epochs": 2}, "epochs and max_steps given: set exactly one of them"),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_is_loaded(settings, message):
    with pytest.raises(SettingsError) as error:
        make_config(PpoConfig, {**BASE, **settings})
    assert message in str(error.value)
