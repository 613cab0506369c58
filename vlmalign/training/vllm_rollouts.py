"""Answers sampled by vLLM in this process, on a GPU; the policy's adapters are handed over at every version."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from vlmalign.data import CasePrompt
from vlmalign.models import VLM
from vlmalign.models.family import placeholder_ids
from vlmalign.models.loading import model_folder, unwrap
from vlmalign.models.sampling import Sample, end_tokens
from vlmalign.training.ppo_config import PpoConfig

RANKS = (8, 16, 32, 64, 128, 256, 512)  # the widths that vLLM reserves room for
MEMORY = 0.4  # share of the GPU that is vLLM's; the rest is for training


def check_vllm() -> None:
    """Refuse `rollouts: vllm` where it cannot run, before anything is loaded.

    Raises:
        ValueError: vLLM is not installed, there is no GPU, or there are several processes.
    """
    if find_spec("vllm") is None:
        raise ValueError(
            "rollouts is 'vllm', which is not installed: pip install 'vlmalign[vllm]', or use rollouts: local"
        )
    if not torch.cuda.is_available():
        raise ValueError("rollouts is 'vllm', which needs a GPU, and there is none: use rollouts: local")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise ValueError(f"rollouts is 'vllm' and there are {processes} processes: use one, or rollouts: local")


class VllmSampler:
    """See `Sampler`.

    vLLM holds a second copy of the starting model. Its numerics differ from ours, so the log-probabilities that
    it reports are only written into candidates; those of an update are computed by our own forward.

    Args:
        config: settings; with `lora`.
        vlm: the policy, with adapters.

    Raises:
        ValueError: see `check_vllm`; or a prompt that vLLM reads as other tokens than we do.
    """

    def __init__(self, config: PpoConfig, vlm: VLM) -> None:
        check_vllm()
        from vllm import LLM

        assert config.lora is not None
        rank = config.lora.rank
        self.vlm = vlm
        self.engine: Any = LLM(
            model=model_folder(config.model), enable_lora=True, seed=config.seed,
            max_lora_rank=next((width for width in RANKS if width >= rank), rank), gpu_memory_utilization=MEMORY,
            dtype="float32" if config.dtype == "float32" else "bfloat16",
        )  # fmt: skip
        self._version: int | None = None
        self._adapter: tempfile.TemporaryDirectory[str] | None = None

    def __call__(
        self,
        items: Sequence[CasePrompt],
        *,
        seeds: list[list[int]],
        temperature: float,
        max_new_tokens: int,
        version: int,
    ) -> list[list[Sample]]:
        """See `Sampler`."""
        from vllm import SamplingParams

        ends = end_tokens(self.vlm).tolist()
        never = {token: -100.0 for token in placeholder_ids(unwrap(self.vlm.model))}
        prompts = [_prompt(item) for item, own in zip(items, seeds, strict=True) for _ in own]
        settings = [
            SamplingParams(
                temperature=temperature, top_p=1.0, max_tokens=max_new_tokens, seed=seed % 2**63, logprobs=0,
                stop_token_ids=ends, logit_bias=never,
            )
            for own in seeds
            for seed in own
        ]  # fmt: skip
        outputs = iter(
            self.engine.generate(prompts, settings, lora_request=self._request(version), use_tqdm=False)
        )
        return [[self._sample(item, next(outputs)) for _ in own] for item, own in zip(items, seeds, strict=True)]

    def _request(self, version: int) -> Any:
        """The adapters as they are now, saved when the version is a new one."""
        from vllm.lora.request import LoRARequest

        if version != self._version or self._adapter is None:
            if self._adapter is not None:
                self._adapter.cleanup()
            self._adapter = tempfile.TemporaryDirectory(prefix="vlmalign-adapter-")
            self.vlm.model.save_pretrained(self._adapter.name)
            self._version = version
        return LoRARequest(f"round-{version}", version + 1, str(Path(self._adapter.name)))

    def _sample(self, item: CasePrompt, output: Any) -> Sample:
        if list(output.prompt_token_ids) != item.prompt["input_ids"][0].tolist():
            raise ValueError(
                f"case {item.key!r}: vLLM reads its prompt as {len(output.prompt_token_ids)} tokens, other than "
                f"our {item.prompt['input_ids'].shape[1]}: use rollouts: local"
            )
        answer = output.outputs[0]
        ids = tuple(answer.token_ids)
        logp = sum(step[token].logprob for step, token in zip(answer.logprobs, ids, strict=True))
        text = self.vlm.tokenizer.decode(ids, skip_special_tokens=True)
        return Sample(ids, text, float(logp), answer.finish_reason == "stop")


def _prompt(item: CasePrompt) -> dict[str, Any]:
    images = {"multi_modal_data": {"image": list(item.images)}} if item.images else {}
    return {"prompt": item.text, **images}
