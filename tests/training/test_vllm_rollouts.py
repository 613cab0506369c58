import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from vlmalign.training import PpoConfig, make_config, ppo, sampler, train_ppo, vllm_rollouts

CALLS: list[SimpleNamespace] = []


class StandInLLM:
    """Answers every request with the tokens 40 and 41, and a log-probability that no model gives."""

    def __init__(self, **settings):
        self.processor = settings.pop("processor", None)
        CALLS.append(SimpleNamespace(engine=settings))

    def generate(self, prompts, settings, *, lora_request, use_tqdm):
        weights = Path(lora_request.path, "adapter_model.safetensors").read_bytes()
        CALLS.append(SimpleNamespace(prompts=prompts, settings=settings, adapter=lora_request, weights=weights))
        answer = SimpleNamespace(
            token_ids=[40, 41],
            logprobs=[{t: SimpleNamespace(logprob=-99.0)} for t in (40, 41)],
            finish_reason="stop",
        )
        return [SimpleNamespace(prompt_token_ids=self.read(p), outputs=[answer]) for p in prompts]

    def read(self, prompt):
        images = prompt["multi_modal_data"]["image"]
        return READER.processor(text=prompt["prompt"], images=images)["input_ids"][0]


READER = SimpleNamespace(processor=None)


@pytest.fixture
def stand_in(monkeypatch, tiny):
    package, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    package.__spec__ = ModuleSpec("vllm", None)
    package.LLM, package.SamplingParams = StandInLLM, lambda **settings: SimpleNamespace(**settings)
    request.LoRARequest = lambda name, number, path: SimpleNamespace(name=name, number=number, path=path)
    for module in (package, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    READER.processor = tiny.processor
    CALLS.clear()


@pytest.fixture
def config(tiny_folder, make_cases, tmp_path):
    reward = {"name": "symbolic", "settings": {"logic": "peripheral_smear", "concepts": ["leukocyte"]}}
    return make_config(PpoConfig, {
        "model": tiny_folder, "data": make_cases(4), "out": str(tmp_path / "run"), "max_steps": 2, "batch_size": 2,
        "samples": 2, "passes": 1, "max_new_tokens": 4, "learning_rate": 1e-2, "advantage": "group", "warmup": 0.0,
        "kl": {"coefficient": 0}, "reward": reward, "lora": {"rank": 4}, "rollouts": "vllm",
    })  # fmt: skip


def test_vllm_that_is_not_installed_is_refused_before_anything_is_loaded(config, monkeypatch):
    monkeypatch.setattr(vllm_rollouts, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"not installed: pip install 'vlmalign\[vllm\]', or use rollouts: local"):
        train_ppo(config)
    assert not Path(config.out).exists()


def test_vllm_without_a_gpu_is_refused_before_anything_is_loaded(config, stand_in, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="needs a GPU, and there is none: use rollouts: local"):
        train_ppo(config)
    assert not Path(config.out).exists() and not CALLS


def test_requests_carry_images_seeds_and_adapters_and_old_log_probabilities_are_our_own(
    config, stand_in, monkeypatch
):
    monkeypatch.setattr(vllm_rollouts, "check_vllm", lambda: None)
    monkeypatch.setattr(sampler, "check_vllm", lambda: None)
    seen = []
    make = ppo.make_experience
    monkeypatch.setattr(ppo, "make_experience", lambda *a: seen.append(make(*a)) or seen[-1])
    train_ppo(config)
    engine, first, second = CALLS
    assert engine.engine["enable_lora"] and engine.engine["max_lora_rank"] == 8
    assert [len(prompt["multi_modal_data"]["image"]) for prompt in first.prompts] == [1] * 4
    assert first.prompts[0] == first.prompts[1] != first.prompts[2]
    assert len({s.seed for call in (first, second) for s in call.settings}) == 8
    assert {(s.max_tokens, s.temperature, s.logprobs) for s in first.settings} == {(4, 1.0, 0)}
    assert (first.adapter.number, second.adapter.number) == (1, 2)
    for experience in seen:
        assert set(experience.rollout.token_ids) == {(40, 41)}
        assert {candidate.logp for candidate in experience.rollout.candidates} == {-198.0}
        assert ((experience.old_logps < 0) & (experience.old_logps > -20)).all()


def test_a_prompt_that_vllm_reads_otherwise_is_refused(config, stand_in, monkeypatch):
    monkeypatch.setattr(vllm_rollouts, "check_vllm", lambda: None)
    monkeypatch.setattr(sampler, "check_vllm", lambda: None)
    monkeypatch.setattr(StandInLLM, "read", lambda self, prompt: [1, 2])
    with pytest.raises(ValueError, match="vLLM reads its prompt as 2 tokens, other than our"):
        train_ppo(config)
