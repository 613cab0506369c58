"""A reward model: a vision-language model whose output layer reads a reward off each answer."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel

from vlmalign.models.batch import PromptBatch
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.models.flops import batch_flops
from vlmalign.models.forward import Mode, forward_responses
from vlmalign.models.image_token import check_image_token
from vlmalign.models.laplace import LastLayerLaplace
from vlmalign.models.loading import (
    REWARD_CONFIG,
    REWARD_HEAD,
    SCALAR,
    VLM,
    LoraSettings,
    add_lora,
    backbone_of,
    check_folder,
    load_model,
    load_processor,
    merged_state_dict,
    quantize_model,
    reward_kind,
)
from vlmalign.models.member_lora import MemberLora, add_member_lora, for_members, split_members
from vlmalign.models.reward_head import HeadSettings, RewardHead, pool
from vlmalign.models.sharding import is_main_process, whole_tensors

_MEMBERS = "member_lora.safetensors"
_LAPLACE = "laplace.safetensors"
FORMAT = 2


class RewardModel(nn.Module):
    """A head on the final hidden states of each answer.

    Args:
        vlm: its backbone is used as it is (not copied), with its LoRA adapters if it has any; the output
            layer over the vocabulary is left out.
        head: how the reward is read; default one linear layer on the last real token.
        member_lora: adapters of each member on the shared backbone, which is then frozen; as many as the head's.

    Attributes:
        laplace: what the last layer's weights may be beside what they are; None where it was not fitted.

    Raises:
        ValueError: members of the head and of the adapters differ.

    Example:
        >>> from vlmalign.models.tiny import build_tiny_llava
        >>> vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16,
        ...                        vision_layers=1, heads=2)
        >>> prompts = {"input_ids": torch.tensor([[1, 3, 3, 3, 3, 6]]), "attention_mask": torch.ones(1, 6).long(),
        ...            "pixel_values": torch.zeros(1, 3, 24, 24)}
        >>> ids = torch.tensor([[40, 41], [42, 0]])
        >>> batch = PromptBatch(prompts, ids, ids > 0, ids > 0, torch.tensor([0, 0]))
        >>> RewardModel(vlm, HeadSettings(members=3))(batch).shape  # (N, K, O)
        torch.Size([2, 3, 1])
    """

    def __init__(
        self, vlm: VLM, head: HeadSettings | None = None, *, member_lora: MemberLora | None = None
    ) -> None:
        super().__init__()
        head = head or HeadSettings()
        self.backbone = backbone_of(vlm.model)
        self._no_split_modules = getattr(self.backbone, "_no_split_modules", None)  # FSDP's units
        self.processor = vlm.processor
        self.head = RewardHead(self.backbone.config.get_text_config().hidden_size, head)
        self.head.to(next(self.backbone.parameters()).device)
        self.member_lora = member_lora
        self.laplace: LastLayerLaplace | None = None
        self._features: FeatureCache | None = None
        if member_lora is not None:
            if member_lora.members != head.members:
                raise ValueError(
                    f"member_lora has {member_lora.members} members and the head {head.members}: give both as "
                    "many."
                )
            add_member_lora(self.backbone, member_lora)
            self._features = FeatureCache(self.backbone)  # an image is computed once for all members

    def states(self, batch: PromptBatch, mode: Mode = "packed", features: FeatureCache | None = None) -> Tensor:
        """Pooled states of the responses: (N, H), or (K, N, H) where members have adapters of their own.

        Args:
            batch: B prompts with N responses.
            mode: see `forward_responses`.
            features: see `forward_responses`.
        """
        members = 1 if self.member_lora is None else self.member_lora.members
        run = batch if self.member_lora is None else for_members(self.backbone, batch, members)
        output = forward_responses(
            self.backbone, run, mode=mode, logps=False, hidden=True, features=features or self._features
        )
        assert output.hidden is not None
        pooled = pool(output.hidden, run.response_mask, self.head.settings.pooling)
        return pooled if self.member_lora is None else pooled.view(members, batch.n_responses, -1)

    def forward(self, batch: PromptBatch, mode: Mode = "packed", features: FeatureCache | None = None) -> Tensor:
        """What the head says of the responses, (N, K, O) float32; arguments as for `states`."""
        return self.head(self.states(batch, mode, features))

    def flops(self, batch: PromptBatch, *, training: bool, mode: Mode = "packed") -> float:
        """Floating point operations of one forward; where members have adapters, images count once for each."""
        run = batch if self.member_lora is None else for_members(self.backbone, batch, self.member_lora.members)
        return batch_flops(self.backbone, run, training=training, mode=mode)

    def save(self, path: str | Path) -> None:
        """Write backbone (LoRA merged), head and processor as a folder; every process calls it, as `save_vlm`."""
        path = Path(path)
        state, members = split_members(iter(merged_state_dict(self.backbone).items()))
        head = whole_tensors(self.head.named_parameters())
        if not is_main_process():
            return
        self.backbone.save_pretrained(path, state_dict=state)
        self.processor.save_pretrained(path)
        save_file({name: value.contiguous() for name, value in head.items()}, path / REWARD_HEAD)
        if members:
            save_file({name: value.contiguous() for name, value in members.items()}, path / _MEMBERS)
        if self.laplace is not None:
            save_file({"factor": self.laplace.factor}, path / _LAPLACE)
        config = {
            "format": FORMAT,
            "hidden_size": self.head.width,
            "head": self.head.settings.to_dict(),
            "member_lora": None if self.member_lora is None else asdict(self.member_lora),
            "laplace": None
            if self.laplace is None
            else {"precision": self.laplace.precision, "pairs": self.laplace.pairs},
        }
        (path / REWARD_CONFIG).write_text(json.dumps(config, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(
        cls, path: str | Path, *, lora: LoraSettings | None = None, dtype: str = "float32", device: str = "cpu"
    ) -> RewardModel:
        """Read a folder written by `save`; arguments as for `load_vlm`.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: a folder that holds no reward model, weights that do not fit, or adapters for one that has
                members with adapters.
        """
        path = Path(path)
        config = read_head_config(path)
        members = None if config["member_lora"] is None else MemberLora(**_tuples(config["member_lora"]))
        if lora is not None and members is not None:
            raise ValueError(f"{path} has adapters of its members, so none can be added: load it without lora.")
        vlm = load_headless(AutoModel, path, config, lora=lora, dtype=dtype, device=device)
        reward = cls(vlm, HeadSettings(**config["head"]), member_lora=members)
        load_exactly(reward.head, load_file(path / REWARD_HEAD), path / REWARD_HEAD)
        if members is not None:
            own = {name for name, _ in reward.backbone.named_parameters() if ".member_" in name}
            load_exactly(reward.backbone, load_file(path / _MEMBERS), path / _MEMBERS, own)
        if config["laplace"] is not None:
            reward.laplace = LastLayerLaplace(load_file(path / _LAPLACE)["factor"].to(device), **config["laplace"])
        return reward.eval()


def load_headless(
    kind: Any, path: Path, config: dict[str, Any], *, lora: LoraSettings | None, dtype: str, device: str
) -> VLM:
    """The model of a reward model's folder without its head, quantised and adapted where asked; see `load_vlm`.

    Args:
        kind: the transformers class to read it by.
        path: the folder.
        config: what `read_head_config` gave.
        lora: fresh adapters to add.
        dtype: of the weights.
        device: where to.

    Raises:
        ValueError: the head reads states of another width than the model gives.
    """
    model = load_model(kind, path, dtype)
    if lora is not None and lora.quantize is not None:
        quantize_model(model, lora.quantize)
    model = model.to(device).eval()
    width = model.config.get_text_config().hidden_size
    if config["hidden_size"] != width:
        raise ValueError(
            f"{REWARD_HEAD} in {path} reads {config['hidden_size']} numbers and the model gives {width}: "
            "head and model are of different models; restore the folder."
        )
    if lora is not None:
        add_lora(model, lora)  # adapts the model in place
    processor = load_processor(path)
    check_image_token(model.config, processor, path)
    return VLM(model=model, processor=processor)


def is_reward_model(path: str | Path) -> bool:
    """Whether a folder holds a reward model."""
    return (Path(path) / REWARD_HEAD).is_file()


def read_head_config(path: str | Path, kind: str = SCALAR) -> dict[str, Any]:
    """What a reward model's folder says of its head.

    Args:
        path: the folder.
        kind: which kind of reward model is wanted.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no reward model, one of another kind or of an earlier format, or pickled weights.
    """
    check_folder(path)
    path = Path(path)
    pickled = sorted(
        file.name for file in path.glob("reward_head.*") if file.suffix in (".pt", ".bin", ".pkl", ".pth")
    )
    if pickled:
        raise ValueError(
            f"{path} holds {pickled[0]}, pickled weights, which run code when they are read: expected "
            f"{REWARD_HEAD}. Convert it to safetensors where you trust it."
        )
    if not is_reward_model(path):
        raise ValueError(
            f"{path} has no {REWARD_HEAD}, expected a reward model: train one, or give the folder of its run."
        )
    config = json.loads((path / REWARD_CONFIG).read_text(encoding="utf-8"))
    if config.get("format") != FORMAT:
        raise ValueError(
            f"{path / REWARD_CONFIG} is of format {config.get('format', 1)}, expected {FORMAT}: train the model "
            "again."
        )
    if reward_kind(path) != kind:
        found = reward_kind(path)
        raise ValueError(
            f"{path} holds a {found} reward model, expected a {kind} one: read it as what it is (reward "
            f"`{found}`), or name another."
        )
    return config


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def load_exactly(module: nn.Module, state: dict[str, Tensor], file: Path, wanted: set[str] | None = None) -> None:
    """Fill parameters, refusing any that are missing, left over or of another shape."""
    own = {name: value for name, value in module.named_parameters() if wanted is None or name in wanted}
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if shapes != found:
        differ = sorted(name for name in {*shapes, *found} if shapes.get(name) != found.get(name))
        raise ValueError(
            f"{file}: {differ[0]} has shape {found.get(differ[0])}, expected {shapes.get(differ[0])}: head and "
            "backbone are of different models; restore the folder."
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(state[name])
