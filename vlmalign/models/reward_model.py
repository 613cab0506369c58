"""A scalar reward model: a vision-language model whose output layer is one number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel

from vlmalign.models.batch import PromptBatch
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.models.forward import Mode, forward_responses
from vlmalign.models.image_token import check_image_token
from vlmalign.models.loading import (
    REWARD_HEAD,
    VLM,
    LoraSettings,
    add_lora,
    backbone_of,
    check_folder,
    load_model,
    load_processor,
    merged_state_dict,
    quantize_model,
)
from vlmalign.models.sharding import is_main_process, whole_tensors

_CONFIG = "reward_head.json"


class RewardModel(nn.Module):
    """A linear head on the final hidden state of each response's last real token.

    Args:
        vlm: its backbone is used as it is (not copied), with its LoRA adapters if it has any; the output
            layer over the vocabulary is left out.

    Example:
        >>> from vlmalign.models.tiny import build_tiny_llava
        >>> vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16,
        ...                        vision_layers=1, heads=2)
        >>> prompts = {"input_ids": torch.tensor([[1, 3, 3, 3, 3, 6]]), "attention_mask": torch.ones(1, 6).long(),
        ...            "pixel_values": torch.zeros(1, 3, 24, 24)}
        >>> ids = torch.tensor([[40, 41], [42, 0]])
        >>> RewardModel(vlm)(PromptBatch(prompts, ids, ids > 0, ids > 0, torch.tensor([0, 0]))).shape
        torch.Size([2])
    """

    def __init__(self, vlm: VLM) -> None:
        super().__init__()
        self.backbone = backbone_of(vlm.model)
        self._no_split_modules = getattr(self.backbone, "_no_split_modules", None)  # FSDP's units
        self.processor = vlm.processor
        width = self.backbone.config.get_text_config().hidden_size
        self.head = nn.Linear(width, 1)
        with torch.no_grad():
            # Fixed, so that two runs differ by their seeds of data alone; rewards start near 0.
            generator = torch.Generator().manual_seed(0)
            self.head.weight.copy_(torch.randn(1, width, generator=generator) / (width + 1) ** 0.5)
            self.head.bias.zero_()
        self.head.to(next(self.backbone.parameters()).device)

    def forward(self, batch: PromptBatch, mode: Mode = "packed", features: FeatureCache | None = None) -> Tensor:
        """Rewards of the responses, (N,) float32.

        Args:
            batch: B prompts with N responses.
            mode: see `forward_responses`.
            features: see `forward_responses`.
        """
        output = forward_responses(self.backbone, batch, mode=mode, logps=False, hidden=True, features=features)
        hidden = output.hidden
        assert hidden is not None
        last = batch.response_mask.sum(1) - 1  # from the mask: column -1 is padding for all but the longest
        row = torch.arange(batch.n_responses, device=last.device)
        return self.head(hidden[row, last].float())[:, 0]

    def save(self, path: str | Path) -> None:
        """Write backbone (LoRA merged), head and processor as a folder; every process calls it, as `save_vlm`."""
        path = Path(path)
        state, head = merged_state_dict(self.backbone), whole_tensors(self.head.named_parameters())
        if not is_main_process():
            return
        self.backbone.save_pretrained(path, state_dict=state)
        self.processor.save_pretrained(path)
        save_file({name: value.contiguous() for name, value in head.items()}, path / REWARD_HEAD)
        config = {"kind": "scalar", "hidden_size": self.head.in_features}
        (path / _CONFIG).write_text(json.dumps(config, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(
        cls, path: str | Path, *, lora: LoraSettings | None = None, dtype: str = "float32", device: str = "cpu"
    ) -> RewardModel:
        """Read a folder written by `save`; arguments as for `load_vlm`.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: a folder that holds no reward model, or weights that do not fit.
        """
        check_folder(path)
        if not (Path(path) / REWARD_HEAD).is_file():
            raise ValueError(
                f"{path} has no {REWARD_HEAD}, expected a reward model: train one, or give the folder of its run."
            )
        head = load_file(Path(path) / REWARD_HEAD)
        backbone: Any = load_model(AutoModel, path, dtype)
        if lora is not None and lora.quantize is not None:
            quantize_model(backbone, lora.quantize)
        backbone = backbone.to(device).eval()
        width = backbone.config.get_text_config().hidden_size
        if head["weight"].shape != (1, width):
            raise ValueError(
                f"{REWARD_HEAD} in {path} has shape {tuple(head['weight'].shape)}, expected (1, {width}): "
                "head and backbone are of different models; restore the folder."
            )
        if lora is not None:
            add_lora(backbone, lora)  # adapts the backbone in place
        processor = load_processor(path)
        check_image_token(backbone.config, processor, path)
        reward = cls(VLM(model=backbone, processor=processor))
        reward.head.load_state_dict(head)
        return reward.eval()
