"""Families that no test proves: on their first batch with images, each mode is compared with the model itself."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlmalign.models.batch import PromptBatch
from vlmalign.models.family import PROVED, PromptLayout, model_type, token_type_of_responses
from vlmalign.models.images import PER_TOKEN, select_prompts
from vlmalign.models.loading import unwrap

MODES = frozenset({"packed", "cached", "plain"})
# Layers for which a mask can keep the responses of a row apart, however long the row.
MASKED_LAYERS = frozenset({"full_attention", "sliding_attention"})

logger = logging.getLogger(__name__)

# What scores the responses (N, T) in one mode, or gives their hidden states (N, T, H).
Run = Callable[[], Tensor]


class _Verdict(NamedTuple):
    modes: frozenset[str]
    about_packing: bool  # whether the batch had a prompt with several responses


_VERDICTS: weakref.WeakKeyDictionary[nn.Module, _Verdict] = weakref.WeakKeyDictionary()
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
_BREAKS = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError)


def known_modes(model: nn.Module) -> frozenset[str]:
    """Modes that are known to give the model's own numbers: all for a listed family, none before a first batch."""
    verdict = _VERDICTS.get(unwrap(model), _Verdict(frozenset(), False))
    return MODES if model_type(model) in PROVED else verdict.modes


def must_compare(model: nn.Module, batch: PromptBatch) -> bool:
    """Whether nothing is known yet of what this batch needs."""
    if model_type(model) in PROVED:
        return False
    verdict = _VERDICTS.get(unwrap(model))
    return verdict is None or (_has_several(batch) and not verdict.about_packing)


def _has_several(batch: PromptBatch) -> bool:
    return batch.n_responses > batch.n_prompts


@torch.no_grad()
def compare_modes(
    model: nn.Module, layout: PromptLayout, batch: PromptBatch, runs: Mapping[str, Run], *, logps: bool
) -> frozenset[str]:
    """Which modes give, for a family that is not listed, what the model gives by itself.

    The model is called once per response, without padding, and computes its own positions and masks. The result
    is kept for further batches if this one holds images: text alone would not show how a family treats them. As
    little would one response per prompt show of packing.

    Args:
        model: possibly wrapped.
        layout: of the prompts.
        batch: prompts and responses.
        runs: what to call, by mode.
        logps: compare log-probabilities; otherwise hidden states.

    Raises:
        ValueError: even the plain mode differs, or the model cannot be called so: the family cannot be used.
    """
    name, training = model_type(model), model.training
    model.eval()
    try:
        try:
            rows = _compared_rows(batch)
            own = _by_the_model_alone(model, layout, batch, rows, logps=logps)
        except torch.OutOfMemoryError:
            raise  # says nothing about the family
        except _BREAKS as error:
            raise ValueError(
                f"family {name!r} cannot be run on prompts that go on with responses ({error}): use a listed "
                "family (`vlmalign models`)."
            ) from error
        limit = _TOLERANCE.get(next(model.parameters()).dtype, 1e-3)

        def agrees(mode: str) -> bool:
            return _agrees(name, mode, lambda: runs[mode]()[rows], own, limit)

        found = {"plain"}
        if not agrees("plain"):
            raise ValueError(
                f"family {name!r} is not listed and its responses are scored differently here than by the model "
                "itself (see the log): use a listed family (`vlmalign models`)."
            )
        types = set(getattr(unwrap(model).config.get_text_config(), "layer_types", None) or ())
        if types <= MASKED_LAYERS:
            found |= {mode for mode in ("packed", "cached")[not _has_several(batch) :] if agrees(mode)}
        else:
            kinds = ", ".join(sorted(types - MASKED_LAYERS))
            logger.warning("family %r has layers of kind %s: the plain forward is used for it.", name, kinds)
    finally:
        model.train(training)
    if "pixel_values" in batch.prompts:
        _VERDICTS[unwrap(model)] = _Verdict(frozenset(found), _has_several(batch))
    return frozenset(found)


def _compared_rows(batch: PromptBatch) -> list[int]:
    """All responses; in several processes the first and the last, so that all call the model equally often."""
    count = batch.n_responses
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return [0, count - 1]
    return list(range(count))


def _agrees(name: str, mode: str, run: Run, own: Tensor, limit: float) -> bool:
    try:
        difference = float((run() - own).abs().max())
    except torch.OutOfMemoryError:
        raise
    except _BREAKS as error:
        logger.warning("family %r: the %s forward cannot be used (%s).", name, mode, error)
        return False
    if not difference <= limit:
        logger.warning(
            "family %r: the %s forward differs from the model's own by %.1e (limit %.0e) and is not used.",
            name,
            mode,
            difference,
            limit,
        )
        return False
    logger.info("family %r is not listed; the %s forward equals the model's own to %.1e.", name, mode, difference)
    return True


def _by_the_model_alone(
    model: nn.Module, layout: PromptLayout, batch: PromptBatch, numbers: list[int], *, logps: bool
) -> Tensor:
    """Log-probabilities (N, T) or hidden states (N, T, H), one unpadded call per response; 0 where not real."""
    rows = []
    for number in numbers:
        inputs = select_prompts(model, layout.inputs, batch.prompt_index[number : number + 1])
        real = inputs["attention_mask"][0].bool()
        answer = batch.response_ids[number][batch.response_mask[number]][None]
        for name in PER_TOKEN:
            if name in inputs:
                fill = 1 if name == "attention_mask" else token_type_of_responses(model, name)
                more = answer if name == "input_ids" else torch.full_like(answer, fill)
                inputs[name] = torch.cat([inputs[name][:, real], more.to(inputs[name].dtype)], 1)
        length = answer.shape[1]
        if logps:
            logits = model(**inputs, use_cache=False).logits[0, -length - 1 : -1].float()
            row = logits.log_softmax(-1).gather(1, answer[0][:, None])[:, 0]
        else:
            row = model(**inputs, use_cache=False).last_hidden_state[0, -length:]
        padding = (0, 0) * (row.ndim - 1) + (0, batch.response_ids.shape[1] - length)
        rows.append(torch.nn.functional.pad(row, padding))
    return torch.stack(rows)
