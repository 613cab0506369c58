"""A model that writes a critique of an answer and reads a reward off what it then knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from vlmalign.models.batch import PromptBatch
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.models.flops import batch_flops
from vlmalign.models.forward import Mode, forward_responses
from vlmalign.models.loading import (
    CRITIQUE,
    REWARD_CONFIG,
    REWARD_HEAD,
    VLM,
    LoraSettings,
    merged_state_dict,
    reward_kind,
    unwrap,
)
from vlmalign.models.reward_head import HeadSettings, RewardHead, pool
from vlmalign.models.reward_model import FORMAT, load_exactly, load_headless, read_head_config
from vlmalign.models.sharding import is_main_process, whole_tensors


class CritiqueOutput(NamedTuple):
    """What one forward gives for N judged answers.

    Attributes:
        outputs: of the head, after each critique, (N, K, O) float32.
        logps: log-probability of each token of answer, request and critique, (N, T); None if not wanted.
    """

    outputs: Tensor
    logps: Tensor | None


class CritiqueModel(nn.Module):
    """A whole vision-language model with a reward head that reads the states of the critique (MM-RLHF, sec. 4).

    A response of a batch is `answer + request + critique` (`vlmalign.data.critique`), its loss mask the critique.
    The head reads the state at the critique's end, or the mean over the critique's tokens, by the head's pooling.

    Args:
        vlm: used as it is (not copied), its output layer and its LoRA adapters included.
        head: how the reward is read; default one linear layer on the last token.
        request: version of the request that critiques answer.

    Example:
        >>> from vlmalign.models.tiny import build_tiny_llava
        >>> vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16,
        ...                        vision_layers=1, heads=2)
        >>> prompts = {"input_ids": torch.tensor([[1, 3, 3, 3, 3, 6]]), "attention_mask": torch.ones(1, 6).long(),
        ...            "pixel_values": torch.zeros(1, 3, 24, 24)}
        >>> ids = torch.tensor([[40, 41, 2], [42, 2, 0]])
        >>> batch = PromptBatch(prompts, ids, ids > 0, ids == 2, torch.tensor([0, 0]))
        >>> output = CritiqueModel(vlm, request="r@1")(batch)
        >>> output.outputs.shape, output.logps.shape
        (torch.Size([2, 1, 1]), torch.Size([2, 3]))
    """

    def __init__(self, vlm: VLM, head: HeadSettings | None = None, *, request: str) -> None:
        super().__init__()
        self.model = unwrap(vlm.model)  # adapters stay in its layers
        self._no_split_modules = getattr(self.model, "_no_split_modules", None)  # FSDP's units
        self.processor, self.request = vlm.processor, request
        self.head = RewardHead(self.model.config.get_text_config().hidden_size, head or HeadSettings())
        self.head.to(next(self.model.parameters()).device)

    @property
    def backbone(self) -> nn.Module:
        """What the head reads, as of other reward models; here it has its output layer."""
        return self.model

    @property
    def vlm(self) -> VLM:
        """The model that writes, with its processor."""
        return VLM(self.model, self.processor)

    def forward(
        self,
        batch: PromptBatch,
        mode: Mode = "packed",
        features: FeatureCache | None = None,
        *,
        logps: bool = True,
        head_only: bool = False,
    ) -> CritiqueOutput:
        """Rewards and log-probabilities of one forward.

        Args:
            batch: B prompts with N judged answers; the loss mask marks their critiques.
            mode: see `forward_responses`.
            features: see `forward_responses`.
            logps: whether log-probabilities are wanted.
            head_only: gradients reach the head and nothing else.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not head_only):
            run = forward_responses(self.model, batch, mode=mode, logps=logps, hidden=True, features=features)
            assert run.hidden is not None
            pooling = self.head.settings.pooling
            read = batch.response_mask if pooling == "last" else batch.loss_mask  # the mean: of the critique alone
            states = pool(run.hidden, read, pooling)
        return CritiqueOutput(self.head(states), run.logps)

    def flops(self, batch: PromptBatch, *, training: bool, mode: Mode = "packed") -> float:
        """Floating point operations of one forward, and of its backward where it is trained."""
        return batch_flops(self.model, batch, training=training, mode=mode)

    def save(self, path: str | Path) -> None:
        """Write model (LoRA merged), head and processor; every process calls it, as `save_vlm`.

        `load_vlm` reads the folder too: as the language model without the head.
        """
        path = Path(path)
        state = merged_state_dict(self.model)
        head = whole_tensors(self.head.named_parameters())
        if not is_main_process():
            return
        self.model.save_pretrained(path, state_dict=state)
        self.processor.save_pretrained(path)
        save_file({name: value.contiguous() for name, value in head.items()}, path / REWARD_HEAD)
        config = {
            "format": FORMAT,
            "kind": CRITIQUE,
            "hidden_size": self.head.width,
            "head": self.head.settings.to_dict(),
            "request": self.request,
        }
        (path / REWARD_CONFIG).write_text(json.dumps(config, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(
        cls, path: str | Path, *, lora: LoraSettings | None = None, dtype: str = "float32", device: str = "cpu"
    ) -> CritiqueModel:
        """Read a folder written by `save`; arguments as for `load_vlm`.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: a folder that holds no critique model, or weights that do not fit.
        """
        path = Path(path)
        config = read_head_config(path, CRITIQUE)
        vlm = load_headless(AutoModelForImageTextToText, path, config, lora=lora, dtype=dtype, device=device)
        critic = cls(vlm, HeadSettings(**config["head"]), request=config["request"])
        load_exactly(critic.head, load_file(path / REWARD_HEAD), path / REWARD_HEAD)
        return critic.eval()


def is_critique_model(path: str | Path) -> bool:
    """Whether a folder holds a critique model."""
    return reward_kind(path) == CRITIQUE
