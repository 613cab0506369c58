"""The shared-prefix forward: log-probabilities of responses, the prompt and its images computed once."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vlmalign.models.batch import PromptBatch
from vlmalign.models.family import PromptLayout, lay_out, placeholder_ids, token_type_of_responses
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.models.images import PER_TOKEN, images_per_prompt, select_prompts
from vlmalign.models.loading import unwrap
from vlmalign.models.packed import pack_rows, packed_width
from vlmalign.models.unlisted import compare_modes, known_modes, must_compare

Mode = Literal["packed", "cached", "plain"]


class ResponseOutput(NamedTuple):
    """What a forward gives for each response token.

    Attributes:
        logps: log-probability of the token given all before it, (N, T) float32; 0 where not real.
        hidden: final hidden state (after the last norm) at the token, (N, T, H); 0 where not real; or None.
        before: the one that the token is predicted from: at the token before it, or at the prompt's end,
            (N, T, H); 0 where not real; or None.
        mode: the mode that was used, which for a family that cannot be packed is not the one asked for.
    """

    logps: Tensor | None
    hidden: Tensor | None
    before: Tensor | None
    mode: str


def forward_responses(
    model: nn.Module,
    batch: PromptBatch,
    *,
    mode: Mode = "packed",
    logps: bool = True,
    hidden: bool = False,
    features: FeatureCache | None = None,
    temperature: float = 1.0,
) -> ResponseOutput:
    """Score every response of a batch.

    `packed` runs one row per prompt that holds all its responses, and is what training uses; `cached` runs
    the prompts into a key-value cache and the responses after it, without gradients; `plain` runs one row
    per response as any library does, and is the reference the others are tested against. All give the same
    numbers. For a family that is not in `PROVED`, every mode is compared with the model itself on its first
    batch; where one differs `plain` is used from then on, and logged. So it is for packed rows that are longer
    than the window of a PaliGemma 2.

    Args:
        model: a Hugging Face image-text model or its backbone without output layer, possibly wrapped
            (DDP, PEFT).
        batch: B prompts with N responses.
        mode: how to compute.
        logps: whether log-probabilities are wanted; they need an output layer.
        hidden: whether hidden states are wanted.
        features: where the features of images come from instead of the model's frozen vision tower.
        temperature: log-probabilities are those of sampling at this temperature, above 0.

    Raises:
        ValueError: an unknown mode, placeholders that do not fit the images or stand in a response,
            log-probabilities of a backbone, or a family whose numbers cannot be had.

    Example:
        >>> from vlmalign.models.tiny import build_tiny_llava
        >>> vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16,
        ...                        vision_layers=1, heads=2)
        >>> prompts = {"input_ids": torch.tensor([[1, 3, 3, 3, 3, 6]]), "attention_mask": torch.ones(1, 6).long(),
        ...            "pixel_values": torch.zeros(1, 3, 24, 24)}
        >>> ids = torch.tensor([[40, 41], [42, 2]])
        >>> batch = PromptBatch(prompts, ids, ids > 0, ids > 0, torch.tensor([0, 0]))
        >>> packed = forward_responses(vlm.model, batch).logps
        >>> torch.allclose(packed, forward_responses(vlm.model, batch, mode="plain").logps, atol=1e-5)
        True
    """
    if mode not in _RUNS:
        raise ValueError(f"mode is {mode!r}, expected one of {sorted(_RUNS)}: correct it.")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected more than 0: at 0 nothing has a probability.")
    if logps and unwrap(model).get_output_embeddings() is None:
        raise ValueError(
            "the model has no output layer for log-probabilities: pass logps=False or the whole model."
        )
    images_per_prompt(model, batch.prompts)
    _check_no_placeholder(model, batch)
    wanted = _Wanted(logps, hidden, features, temperature)
    if mode not in usable_modes(model, batch, features):
        mode = "plain"
    if mode == "packed" and batch.n_responses == batch.n_prompts:
        # One response per prompt: both layouts are the same rows, and a plain mask allows faster kernels.
        return _plain(model, lay_out(model, batch.prompts), batch, wanted)._replace(mode="packed")
    layout = lay_out(model, batch.prompts)
    if mode == "packed" and layout.longest_row is not None and packed_width(batch) > layout.longest_row:
        mode = "plain"
    return _RUNS[mode](model, layout, batch, wanted)


def sequence_logps(output: ResponseOutput, batch: PromptBatch) -> Tensor:
    """Log-probability of each response's own (assistant) tokens, (N,)."""
    if output.logps is None:
        raise ValueError("the output has no log-probabilities: call forward_responses with logps=True.")
    return (output.logps * batch.loss_mask).sum(1)


def _check_no_placeholder(model: nn.Module, batch: PromptBatch) -> None:
    placeholders = torch.tensor(placeholder_ids(model), device=batch.response_ids.device)
    found = (torch.isin(batch.response_ids, placeholders) & batch.response_mask).any(1)
    if bool(found.any()):
        raise ValueError(
            f"response rows {found.nonzero().flatten().tolist()} hold a placeholder of images, one of "
            f"the tokens {placeholders.tolist()}, expected text only: move images to the prompt, or drop these "
            "responses."
        )


class _Wanted(NamedTuple):
    """What of a forward is wanted, and where features of images come from."""

    logps: bool
    hidden: bool
    features: FeatureCache | None = None
    temperature: float = 1.0

    def images(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs if self.features is None else self.features.replace_images(inputs)


# -- the three modes ------------------------------------------------------------------------------


def _packed(model: nn.Module, layout: PromptLayout, batch: PromptBatch, wanted: _Wanted) -> ResponseOutput:
    rows = pack_rows(model, layout, batch)
    row = batch.prompt_index[:, None]
    logits, states = _call(model, rows.inputs, rows.keep, wanted)
    values = at = before = None
    if logits is not None:
        values = _token_logps(logits, row, rows.predicted_at, batch, wanted.temperature)
    if states is not None:
        at, before = states[row, rows.columns], states[row, layout.width - 1 + rows.predicted_at]
    return _output(batch, values, at, before, "packed")


def _plain(model: nn.Module, layout: PromptLayout, batch: PromptBatch, wanted: _Wanted) -> ResponseOutput:
    inputs: dict[str, Any] = select_prompts(model, layout.inputs, batch.prompt_index)
    offset = torch.arange(batch.response_ids.shape[1], device=batch.response_ids.device)
    prompt_positions = layout.positions[..., batch.prompt_index, :]
    response_positions = layout.response_positions(offset.expand_as(batch.response_ids), batch.prompt_index)
    inputs["position_ids"] = torch.cat([prompt_positions, response_positions], -1)
    for name in PER_TOKEN:
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], _response_field(model, name, batch).to(inputs[name].dtype)], 1)
    keep = torch.arange(layout.width - 1, inputs["input_ids"].shape[1] - 1, device=offset.device)
    logits, states = _call(model, inputs, keep, wanted)
    row = torch.arange(batch.n_responses, device=offset.device)[:, None]
    values = at = before = None
    if logits is not None:
        values = _token_logps(logits, row, offset.expand_as(batch.response_ids), batch, wanted.temperature)
    if states is not None:
        at, before = states[:, layout.width :], states[:, layout.width - 1 : -1]
    return _output(batch, values, at, before, "plain")


@torch.no_grad()
def _cached(model: nn.Module, layout: PromptLayout, batch: PromptBatch, wanted: _Wanted) -> ResponseOutput:
    index, ids = batch.prompt_index, batch.response_ids
    whole = unwrap(model).get_output_embeddings() is not None
    first = model(
        **wanted.images(layout.inputs),
        position_ids=layout.positions,
        use_cache=True,
        **({"logits_to_keep": 1, "output_hidden_states": wanted.hidden} if whole else {}),
    )
    cache = first.cache
    cache.batch_select_indices(index)
    offset = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.cat([layout.inputs["attention_mask"][index], batch.response_mask.long()], 1),
        "position_ids": layout.response_positions(offset, index),
        "cache": cache,
    }
    logits, states = _call(model, inputs, offset[0], wanted)
    values = before = None
    if logits is not None:
        logits = torch.cat([first.logits[index], logits[:, :-1]], 1)
        row = torch.arange(len(index), device=ids.device)[:, None]
        values = _token_logps(logits, row, offset, batch, wanted.temperature)
    if states is not None:
        end = first.hidden_states[-1] if whole else first.last_hidden_state
        before = torch.cat([end[index, -1:], states[:, :-1]], 1)
    return _output(batch, values, states, before, "cached")


_RUNS: dict[str, Any] = {"packed": _packed, "plain": _plain, "cached": _cached}


def _output(
    batch: PromptBatch, logps: Tensor | None, at: Tensor | None, before: Tensor | None, mode: str
) -> ResponseOutput:
    if at is None or before is None:
        return ResponseOutput(logps, None, None, mode)
    real = batch.response_mask[..., None]
    return ResponseOutput(logps, at * real, before * real, mode)


def _call(
    model: nn.Module, inputs: dict[str, Any], keep: Tensor, wanted: _Wanted
) -> tuple[Tensor | None, Tensor | None]:
    """Logits at `keep` columns (rows, Q, V), final hidden states (rows, L, H); None where not wanted."""
    inputs = {"use_cache": "cache" in inputs, **wanted.images(inputs)}
    if unwrap(model).get_output_embeddings() is None:
        return None, model(**inputs).last_hidden_state
    output = model(**inputs, logits_to_keep=keep if wanted.logps else 1, output_hidden_states=wanted.hidden)
    return (output.logits if wanted.logps else None), (output.hidden_states[-1] if wanted.hidden else None)


def _token_logps(logits: Tensor, row: Tensor, column: Tensor, batch: PromptBatch, temperature: float) -> Tensor:
    """Log softmax in float32, taken at `logits[row, column, token]`; (N, T), 0 where not real."""
    logits = logits.float() if temperature == 1 else logits.float() / temperature
    chosen = logits[row, column, batch.response_ids]
    values = chosen - logits.logsumexp(-1)[row, column]
    return torch.where(batch.response_mask, values, 0.0)


def _response_field(model: nn.Module, name: str, batch: PromptBatch) -> Tensor:
    if name == "input_ids":
        return batch.response_ids
    if name == "attention_mask":
        return batch.response_mask
    return torch.full_like(batch.response_ids, token_type_of_responses(model, name))


# -- which mode -----------------------------------------------------------------------------------


def usable_modes(model: nn.Module, batch: PromptBatch, features: FeatureCache | None = None) -> frozenset[str]:
    """Modes that give the model's own numbers; a family that is not listed is checked on this batch.

    Raises:
        ValueError: a family that cannot be used.
    """
    if not must_compare(model, batch):
        return known_modes(model)
    layout, logps = lay_out(model, batch.prompts), unwrap(model).get_output_embeddings() is not None

    def run(mode: str) -> Tensor:
        output = _RUNS[mode](model, layout, batch, _Wanted(logps, not logps, features))
        return output.logps if logps else output.hidden

    return compare_modes(model, layout, batch, {mode: partial(run, mode) for mode in _RUNS}, logps=logps)


def forward_mode(model: nn.Module) -> Mode:
    """How `forward_responses` runs this model's batches when `packed` is asked for.

    `plain` is what a family gets that is not in `PROVED` and did not pass the check on its first batch, or has
    had no such batch.
    """
    return "packed" if "packed" in known_modes(model) else "plain"
