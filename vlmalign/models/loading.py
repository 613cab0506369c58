"""A vision-language model with its processor, from and to a folder; safetensors only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from vlmalign.models.builtin import resolve_checkpoint
from vlmalign.models.hub import check_on_hub
from vlmalign.models.image_token import check_image_token
from vlmalign.models.quantization import check_quantization, dequantized_state, quantize_language
from vlmalign.models.sharding import is_main_process, whole, whole_tensors

REWARD_HEAD = "reward_head.safetensors"
REWARD_CONFIG = "reward_head.json"
#: kinds of reward models: what reads an answer, and what writes a critique of it first
SCALAR, CRITIQUE = "scalar", "critique"


@dataclass
class VLM:
    """A model and the processor that makes its inputs."""

    model: Any
    processor: Any

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def stop_tokens(self) -> frozenset[int]:
        """Ids that end an answer: the tokenizer's end token and those of the generation config."""
        configured = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        listed = configured if isinstance(configured, (list, tuple)) else [configured]
        return frozenset({self.tokenizer.eos_token_id, *listed} - {None})


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adaptation of the language model's linear layers (Hu et al. 2021).

    Attributes:
        r: rank.
        alpha: scale; the update is `alpha / r * B A`.
        dropout: on the adapter's input.
        targets: "language" for all linear layers of the language model, or the last parts of their names
            (`("q_proj", "v_proj")`). The vision tower and the projector are never adapted, so that their
            features can be cached.
        quantize: keep the language model's own linear weights as 4-bit NormalFloats and compute with them in
            this type (QLoRA); needs CUDA and the extra `gpu`. What is saved is the weights as they were computed
            with, back in their first type, and the adapters added in.
    """

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: Literal["language"] | tuple[str, ...] = "language"
    quantize: Literal["float32", "bfloat16"] | None = None

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(f"LoRA rank r is {self.r}, expected at least 1: raise it, or use no LoRA.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"LoRA dropout is {self.dropout}, expected a probability in [0, 1): lower it.")


def unwrap(model: nn.Module) -> Any:
    """The Hugging Face model inside DDP, FSDP, DeepSpeed, torch.compile and PEFT wrappers; its config is needed.

    FSDP2 wraps nothing: a sharded model is the model itself, of a class with a longer name.
    """
    inner: Any = model
    while True:
        if hasattr(inner, "_orig_mod"):
            inner = inner._orig_mod
        elif type(inner).__name__ in ("DistributedDataParallel", "FullyShardedDataParallel", "DeepSpeedEngine"):
            inner = inner.module
        elif hasattr(inner, "get_base_model"):
            inner = inner.get_base_model()
        else:
            return inner


def backbone_of(model: nn.Module) -> Any:
    """The model without its output layer."""
    inner = unwrap(model)
    return inner.model if inner.get_output_embeddings() is not None else inner


def language_model_of(model: nn.Module) -> nn.Module:
    """The text decoder inside the model."""
    backbone = backbone_of(model)
    for name in ("language_model", "text_model"):
        if hasattr(backbone, name):
            return getattr(backbone, name)
    raise ValueError(f"{type(backbone).__name__} has no language_model or text_model: use a supported family.")


def load_vlm(
    path: str | Path, *, lora: LoraSettings | None = None, dtype: str = "float32", device: str = "cpu"
) -> VLM:
    """Load a model and its processor.

    Args:
        path: a folder, the name of a model on the Hugging Face hub ("owner/name"), or `builtin:NAME` for
            a checkpoint that comes with this package.
        lora: adapt the language model; everything else is then frozen.
        dtype: "float32", "bfloat16" or "float16".
        device: where to.

    Raises:
        FileNotFoundError: no such folder or hub model, or one without safetensors weights.
        ValueError: another kind of checkpoint, weights that do not fit the model, or another model's processor.
    """
    path = resolve_checkpoint(path)
    check_folder(path)
    check_speaks(path)
    model = load_model(AutoModelForImageTextToText, path, dtype)
    if lora is not None and lora.quantize is not None:  # before it moves: the device may have no room for all
        quantize_model(model, lora.quantize)
    vlm = VLM(model=model.to(device).eval(), processor=load_processor(path))
    check_image_token(model.config, vlm.processor, path)
    if lora is not None:
        vlm.model = add_lora(vlm.model, lora)
    return vlm


def quantize_model(model: nn.Module, compute: str) -> None:
    """Give the language model four-bit weights; adapters are the only thing that can be trained then.

    Raises:
        ValueError: there is no CUDA device.
        ImportError: bitsandbytes is not installed.
    """
    check_quantization()
    quantize_language(language_model_of(model), getattr(torch, compute))
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # how PEFT knows


def load_model(auto: Any, path: str | Path, dtype: str) -> Any:
    """Load weights of class `auto`, refusing any that are missing, left over or of another shape."""
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in types:
        raise ValueError(f"dtype is {dtype!r}, expected one of {sorted(types)}: correct it.")
    try:
        with _errors_only():  # the library's table of what does not fit: our error says it
            model, found = auto.from_pretrained(
                path,
                dtype=types[dtype],
                use_safetensors=True,
                trust_remote_code=False,  # unset, the library asks whoever sits there whether to run it
                attn_implementation="sdpa",
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below with the others
            )
    except OSError as error:
        raise FileNotFoundError(
            f"{path} holds no loadable safetensors model ({_first_line(error)}): check the path; convert .bin "
            "weights first."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{path} is no image-text checkpoint that transformers knows ({_first_line(error)}): use another."
        ) from error
    except SafetensorError as error:
        raise ValueError(f"the weights in {path} are damaged ({error}): fetch or make the model again.") from error
    for kind in ("missing", "unexpected", "mismatched"):
        names = sorted(str(name) for name in found[f"{kind}_keys"])
        if names:
            raise ValueError(
                f"{path} has {len(names)} {kind} weights for {type(model).__name__}, e.g. {names[:3]}: "
                "its config.json and its weights are of different models; restore the folder."
            )
    return model


def load_processor(path: str | Path) -> Any:
    """Load a model's processor.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    try:
        return AutoProcessor.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{path} holds no loadable processor ({_first_line(error)}): copy tokenizer, image processor and chat "
            "template from where the model comes from."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


@contextmanager
def _errors_only() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def model_folder(path: str | Path) -> str:
    """What to load: of a run folder its `model`; anything else as it is, `builtin:NAME` and Hub ids too."""
    inside = Path(path) / "model"
    return str(inside if inside.is_dir() else path)


def check_folder(path: str | Path) -> None:
    """Refuse a path that is meant as a folder and holds no model, and a name that the Hub does not know."""
    text, folder = str(path), Path(path)
    looks_local = isinstance(path, Path) or text.startswith((".", "/", "~")) or text.count("/") != 1
    looks_local = looks_local or folder.parent.is_dir()  # "runs/sft" where `runs` is: not the Hub's "runs"
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{folder} has no config.json, expected a model folder: give the one that holds the weights."
            )
    elif looks_local:
        raise FileNotFoundError(
            f"{folder} is no folder, expected one with a model: check the path. A model of the package is named "
            "builtin:smear-base, one of the Hub owner/name."
        )
    else:
        check_on_hub(text)


def check_speaks(path: str | Path) -> None:
    """Refuse a reward model where a language model is needed: its output layer is gone.

    One that writes critiques still speaks.
    """
    folder = Path(path)
    if (folder / REWARD_HEAD).exists() and reward_kind(folder) != CRITIQUE:
        run = folder.parent if folder.name == "model" else folder
        raise ValueError(
            f"{folder} holds a reward model, expected a language model: name another; to score answers with this "
            f"one, use `vlmalign score scalar --set run={run}`."
        )


def reward_kind(path: str | Path) -> str | None:
    """Which kind of reward model a folder holds; None if it holds none."""
    folder = Path(path)
    if not (folder / REWARD_HEAD).is_file():
        return None
    config = folder / REWARD_CONFIG
    told = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    return told.get("kind", SCALAR)


def save_vlm(vlm: VLM, path: str | Path) -> None:
    """Write model and processor as a folder that `load_vlm` reads; LoRA updates are added into the weights.

    Where processes train together, every one of them must call this, as each may hold a part of the weights; the
    main one writes.
    """
    inner = unwrap(vlm.model)
    state = merged_state_dict(inner)
    if is_main_process():
        inner.save_pretrained(path, state_dict=state)
        vlm.processor.save_pretrained(path)


def add_lora(model: nn.Module, settings: LoraSettings) -> Any:
    """Wrap the model with PEFT; only the adapters of the language model are trainable afterwards.

    Raises:
        ValueError: no linear layer of the language model has such a name.
    """
    from peft import LoraConfig, get_peft_model

    inside = set(language_model_of(model).modules())
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module in inside
        and (settings.targets == "language" or name.rsplit(".", 1)[-1] in settings.targets)
    ]
    if not names:
        raise ValueError(
            f"LoRA targets are {settings.targets}, but no linear layer of the language model has such a name: "
            "use 'language' or names like 'q_proj'."
        )
    config = LoraConfig(
        r=settings.r, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=names, bias="none"
    )
    return get_peft_model(model, config)  # type: ignore[arg-type]


def merged_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """The weights with every LoRA update added in, under the names they have without LoRA, on the CPU.

    Every process must call this; the result is empty but in the main one.
    """
    return whole_tensors(merged_tensors(module))


def merged_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The entries of `merged_state_dict` one by one, so that only one of them need be held."""
    from peft.tuners.lora import LoraLayer

    layers: dict[str, Any] = {
        name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer)
    }
    for key, value in dequantized_state(module):
        owner = next((key[: key.index(mark)] for mark in (".base_layer.", ".lora_") if mark in key), None)
        if owner not in layers:
            yield key, value
        elif ".base_layer." in key:
            if key.endswith(".weight"):
                base = whole(value)
                value = (base.float() + _lora_update(layers[owner])).to(base.dtype)
            yield key.replace(".base_layer.", "."), value


def _lora_update(layer: Any) -> Tensor:
    """The sum of scale * B A over the active adapters, in float32."""
    updates = [
        (whole(layer.lora_B[name].weight).float() @ whole(layer.lora_A[name].weight).float()) * layer.scaling[name]
        for name in layer.active_adapters
    ]
    return torch.stack(updates).sum(0)
