"""Examples -> one padded `PromptBatch`: prompts padded on the left, responses on the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from PIL import Image
from torch import Tensor

from vlmalign.data.encode import EncodedResponse, Example
from vlmalign.data.prompts import Prompt, encode_prompt, is_token_entry
from vlmalign.models.batch import PromptBatch
from vlmalign.records import Message


class TrainingBatch(TypedDict):
    """What a training step reads.

    `batch` holds B prompts with their responses, ordered by prompt; `ids` the B record ids; `weights` (B,)
    factors of the losses; `margins` (B,), NaN where a record has none; `ratings` (N,) of the responses, NaN where
    one has none; `groups` the B records' groups.
    """

    batch: PromptBatch
    ids: tuple[str, ...]
    weights: Tensor
    margins: Tensor
    ratings: Tensor
    groups: tuple[str, ...]


def collate_prompts(prompts: Sequence[Prompt], pad_token_id: int) -> Prompt:
    """Stack the processor outputs of single prompts, tokens padded on the left.

    Entries that do not run along the tokens (pixels, grids, sizes) are concatenated over the images of all
    prompts, some of which may have none; where their further dimensions differ (tiles of an image), they are
    filled with zeros at the end.

    Args:
        prompts: B outputs, token entries (1, P_b).
        pad_token_id: fills `input_ids`; every other token entry is filled with 0.

    Returns:
        Token entries (B, P) with P = max P_b, and the rest concatenated.

    Example:
        >>> one = {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.tensor([[1, 1]])}
        >>> two = {"input_ids": torch.tensor([[7]]), "attention_mask": torch.tensor([[1]])}
        >>> collate_prompts([one, two], 0)["input_ids"].tolist()
        [[5, 6], [0, 7]]
    """
    width = max(prompt["input_ids"].shape[1] for prompt in prompts)
    result: Prompt = {}
    for name in dict.fromkeys(name for prompt in prompts for name in prompt):
        having = [prompt for prompt in prompts if name in prompt]
        if all(is_token_entry(name, prompt[name], prompt["input_ids"]) for prompt in having):
            fill = pad_token_id if name == "input_ids" else 0
            values = [prompt.get(name, torch.zeros_like(prompt["input_ids"])) for prompt in prompts]
            values = [torch.nn.functional.pad(v, (width - v.shape[1], 0), value=fill) for v in values]
        else:
            values = _same_shape([prompt[name] for prompt in having])
        result[name] = torch.cat(values)
    return result


def _same_shape(values: list[Tensor]) -> list[Tensor]:
    sizes = [max(dims) for dims in zip(*(value.shape[1:] for value in values), strict=True)]
    if all(list(value.shape[1:]) == sizes for value in values):
        return values
    padded = []
    for value in values:
        pad: list[int] = []
        for size, have in zip(reversed(sizes), reversed(value.shape[1:]), strict=True):
            pad += [0, size - have]
        padded.append(torch.nn.functional.pad(value, pad))
    return padded


def collate_responses(responses: Sequence[EncodedResponse], pad_token_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Responses padded on the right: ids, which are real, which are in the loss; each (N, T)."""
    shape = (len(responses), max(len(response) for response in responses))
    ids = torch.full(shape, pad_token_id, dtype=torch.long)
    real = torch.zeros(shape, dtype=torch.bool)
    loss = torch.zeros(shape, dtype=torch.bool)
    for row, response in enumerate(responses):
        length = len(response)
        ids[row, :length] = torch.tensor(response.token_ids)
        real[row, :length] = True
        loss[row, :length] = torch.tensor(response.loss_mask)
    return ids, real, loss


def collate(examples: Sequence[Example], pad_token_id: int) -> TrainingBatch:
    """Make one batch of examples, each a prompt with one or more responses.

    Args:
        examples: B examples.
        pad_token_id: of the tokenizer.

    Returns:
        A batch of B prompts with all their responses; those of one prompt stand together, in their order.
    """
    counts = torch.tensor([len(example.responses) for example in examples])
    ids, real, loss = collate_responses([r for e in examples for r in e.responses], pad_token_id)
    batch = PromptBatch(
        prompts=collate_prompts([example.prompt for example in examples], pad_token_id),
        response_ids=ids,
        response_mask=real,
        loss_mask=loss,
        prompt_index=torch.arange(len(examples)).repeat_interleave(counts),
    )
    return TrainingBatch(
        batch=batch,
        ids=tuple(example.id for example in examples),
        weights=torch.tensor([example.weight for example in examples], dtype=torch.float32),
        margins=torch.tensor([float("nan") if e.margin is None else e.margin for e in examples]),
        ratings=torch.tensor(
            [float("nan") if r is None else r for e in examples for r in e.ratings or (None,) * len(e.responses)]
        ),
        groups=tuple(example.group for example in examples),
    )


def pad_token(processor: Any) -> int:
    """Id used for padding: the tokenizer's, else its end token (masks decide what is real)."""
    tokenizer = processor.tokenizer
    return next(i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if i is not None)


def encode_prompts(
    processor: Any,
    prompts: Sequence[Sequence[Message]],
    images: Sequence[Sequence[Image.Image]],
    records: Sequence[str] | None = None,
) -> Prompt:
    """Prompts with their images as one batch, padded on the left: what sampling reads.

    Args:
        processor: of the model.
        prompts: B lists of turns, each ending on a user turn.
        images: B lists of images.
        records: their ids, for errors.
    """
    names = [None] * len(prompts) if records is None else records
    parts = zip(prompts, images, names, strict=True)
    encoded = [encode_prompt(processor, turns, own, record=name) for turns, own, name in parts]
    return collate_prompts(encoded, pad_token(processor))
