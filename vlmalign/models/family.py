"""What differs between model families: token types, positions, and who sees whom inside a prompt."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlmalign.models.batch import align_left
from vlmalign.models.image_token import configured_image_token
from vlmalign.models.loading import backbone_of, unwrap


class Family(NamedTuple):
    """A family of models for which tests prove all that `forward_responses` promises.

    That is, for prompts with one, several and no images in one batch, images in earlier turns too: packed and
    cached log-probabilities and LoRA gradients equal those of each prompt and response alone.

    Attributes:
        name: as people call it.
        examples: models of the family.
        refuses: what the family cannot do and why, if anything; it is then refused with an error.
    """

    name: str
    examples: str
    refuses: str = ""


# By `model_type` of the configuration.
PROVED: dict[str, Family] = {
    "llava": Family("LLaVA-1.5", "llava-hf/llava-1.5-7b-hf, and others in its format"),
    "llava_next": Family("LLaVA-NeXT (1.6)", "llava-hf/llava-v1.6-mistral-7b-hf"),
    "llava_onevision": Family("LLaVA-OneVision", "llava-hf/llava-onevision-qwen2-0.5b-ov-hf"),
    "qwen2_vl": Family("Qwen2-VL", "Qwen/Qwen2-VL-2B-Instruct"),
    "qwen2_5_vl": Family("Qwen2.5-VL", "Qwen/Qwen2.5-VL-3B-Instruct, Lingshu"),
    "qwen3_vl": Family("Qwen3-VL", "Qwen/Qwen3-VL-2B-Instruct"),
    "internvl": Family("InternVL", "OpenGVLab/InternVL3-1B-hf"),
    "paligemma": Family(
        "PaliGemma",
        "google/paligemma2-3b-mix-448",
        "prompts without an image: its processor only makes prompts about images",
    ),
    "gemma3": Family("Gemma 3", "google/medgemma-4b-it, google/gemma-3-4b-it"),
    "mistral3": Family("Mistral 3", "mistralai/Mistral-Small-3.2-24B-Instruct-2506"),
    "idefics3": Family("Idefics3", "HuggingFaceM4/Idefics3-8B-Llama3"),
    "smolvlm": Family("SmolVLM", "HuggingFaceTB/SmolVLM2-500M-Video-Instruct (needs `pip install num2words`)"),
}


@dataclass(frozen=True)
class PromptLayout:
    """Prompts made ready for a family.

    Attributes:
        inputs: processor output, prompts ending in the last column, with every token type the model takes.
        positions: position ids of the prompt tokens, (B, P), or (3, B, P) for M-RoPE.
        start: position of the first response token, (B,).
        both_ways: pairs of prompt tokens that see each other in both directions, (B, P, P), or None.
        window: width of the sliding attention window of some layers, or None.
        window_everywhere: whether all layers have that window.
        longest_row: longest packed row that the model can be given the right mask for, or None.
    """

    inputs: dict[str, Tensor]
    positions: Tensor
    start: Tensor
    both_ways: Tensor | None
    window: int | None
    window_everywhere: bool = False
    longest_row: int | None = None

    @property
    def width(self) -> int:
        """P."""
        return self.inputs["input_ids"].shape[1]

    def response_positions(self, offset: Tensor, rows: Tensor | None = None) -> Tensor:
        """Position ids `start + offset`.

        Args:
            offset: how far behind the first response token, (rows, T).
            rows: which prompt each row belongs to; default: one row per prompt.
        """
        start = self.start if rows is None else self.start[rows]
        positions = start[:, None] + offset
        return positions.expand(3, *positions.shape) if self.positions.ndim == 3 else positions


def model_type(model: nn.Module) -> str:
    """The family's name in its configuration."""
    return str(unwrap(model).config.model_type)


def image_token_id(model: nn.Module) -> int:
    """Id of the placeholder of one image token; -1, which no token has, if the configuration names none."""
    return configured_image_token(unwrap(model).config)


def placeholder_ids(model: nn.Module) -> list[int]:
    """Ids of the tokens that stand for a piece of an image or a video: no answer may hold one."""
    config = unwrap(model).config
    video = [getattr(config, name, None) for name in ("video_token_id", "video_token_index")]
    return sorted({int(token) for token in (image_token_id(model), *video) if token is not None and token >= 0})


def token_type_of_responses(model: nn.Module, name: str) -> int:
    """The value of a token-type field on response tokens: text, or PaliGemma's causal suffix."""
    return 1 if name == "token_type_ids" and model_type(model) == "paligemma" else 0


def lay_out(model: nn.Module, prompts: dict[str, Tensor]) -> PromptLayout:
    """Align the prompts to the left and compute what the family needs beside them.

    Args:
        model: a Hugging Face image-text model, possibly wrapped.
        prompts: processor output for B prompts, padded on either side.
    """
    inputs = align_left(prompts)
    inputs.pop("labels", None)  # PaliGemma's processor makes some, for a loss of the library
    family = model_type(model)
    _add_token_types(model, inputs)
    real = inputs["attention_mask"].bool()
    if hasattr(backbone_of(model), "get_rope_index"):  # M-RoPE: the Qwen family and others after it
        positions = _mrope_positions(model, inputs)
        start = positions.masked_fill(~real, -1).amax((0, 2)) + 1
    else:
        first = 1 if family == "paligemma" else 0
        positions = (real.long().cumsum(1) - 1).clamp(min=0) + first
        start = real.sum(1) + first
    both_ways = None
    if family == "paligemma":
        prefix = real & (inputs["token_type_ids"] == 0)
        both_ways = prefix[:, :, None] & prefix[:, None, :]
    elif family == "gemma3":
        image = inputs["token_type_ids"] == 1
        starts = image & ~torch.nn.functional.pad(image, (1, 0))[:, :-1]
        run = starts.long().cumsum(1)  # one number per image
        both_ways = image[:, :, None] & image[:, None, :] & (run[:, :, None] == run[:, None, :])
    return PromptLayout(inputs, positions, start, both_ways, *_window(model))


def _window(model: nn.Module) -> tuple[int | None, bool, int | None]:
    """Width of the sliding window, whether all layers have it (Mistral; not Gemma 3), and the longest row.

    PaliGemma takes one explicit mask for all layers, so on Gemma 2 a packed row must fit into the window.
    """
    text = unwrap(model).config.get_text_config()
    types = getattr(text, "layer_types", None)
    width = getattr(text, "sliding_window", None)
    if width is None or (types is not None and "sliding_attention" not in types):
        return None, False, None
    if model_type(model) == "paligemma":
        return None, False, int(width)
    return int(width), types is None, None


def _add_token_types(model: nn.Module, inputs: dict[str, Tensor]) -> None:
    accepted = inspect.signature(backbone_of(model).forward).parameters
    ids = inputs["input_ids"]
    image = (ids == image_token_id(model)).long()
    if "mm_token_type_ids" in accepted and "mm_token_type_ids" not in inputs:
        inputs["mm_token_type_ids"] = image
    if "token_type_ids" in accepted and "token_type_ids" not in inputs:
        inputs["token_type_ids"] = torch.zeros_like(ids) if model_type(model) == "paligemma" else image


def _mrope_positions(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "attention_mask")
    positions, _ = backbone_of(model).get_rope_index(**{name: inputs[name] for name in names if name in inputs})
    return positions
