"""Sampling answers: each prompt is run once for all its samples, each row draws from its own seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlmalign.models.decoding import Decoder
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.models.loading import VLM, unwrap


@dataclass(frozen=True)
class Sample:
    """One sampled answer.

    Attributes:
        token_ids: its tokens, the end token included if it was reached.
        text: the same as text, without special tokens.
        logp: its log-probability under the model at temperature 1, whatever it was sampled at.
        finished: whether it ended by itself; otherwise the token limit cut it.
    """

    token_ids: tuple[int, ...]
    text: str
    logp: float
    finished: bool


@torch.no_grad()
def sample_responses(
    vlm: VLM,
    prompts: dict[str, Tensor],
    *,
    seeds: list[list[int]],
    temperature: float,
    top_p: float = 1.0,
    max_new_tokens: int,
    features: FeatureCache | None = None,
) -> list[list[Sample]]:
    """Sample answers to prompts.

    A row's draws come from its own seed alone (one uniform number per token, through the inverse of the
    cumulative distribution), so they do not depend on what else is in the batch but for rounding. Placeholders
    of images are never drawn.

    Args:
        vlm: model and processor; the model is put into evaluation mode and back.
        prompts: processor output for B prompts, padded on either side.
        seeds: per prompt, one seed per wanted sample (at least one prompt, one sample each).
        temperature: 0 takes the likeliest token.
        top_p: sample among the likeliest tokens that together reach this probability; 1 takes all.
        max_new_tokens: limit per answer.
        features: where the features of images come from instead of the model's frozen vision tower.

    Returns:
        Per prompt, one sample per seed.

    Raises:
        ValueError: seeds that do not fit the prompts, or settings out of range.

    Example:
        >>> from vlmalign.models.tiny import build_tiny_llava
        >>> vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16,
        ...                        vision_layers=1, heads=2)
        >>> prompts = {"input_ids": torch.tensor([[1, 3, 3, 3, 3, 6]]), "attention_mask": torch.ones(1, 6).long(),
        ...            "pixel_values": torch.zeros(1, 3, 24, 24)}
        >>> one, two = sample_responses(vlm, prompts, seeds=[[1, 2]], temperature=1.0, max_new_tokens=4)[0]
        >>> one == sample_responses(vlm, prompts, seeds=[[1]], temperature=1.0, max_new_tokens=4)[0][0]
        True
    """
    check_sampling(prompts, seeds, temperature, top_p, max_new_tokens)
    training = vlm.model.training
    vlm.model.eval()
    try:
        index = rows_of(seeds).to(prompts["input_ids"].device)
        decoder = Decoder(unwrap(vlm.model), prompts, index, max_new_tokens, features=features)
        noise = draw_uniforms(seeds, max_new_tokens).to(index.device)
        tokens, logps, lengths, finished = decode_turn(
            decoder, noise, end_tokens(vlm), temperature, top_p, max_new_tokens, compact=True
        )
    finally:
        vlm.model.train(training)
    samples = to_samples(vlm, tokens, logps, lengths, finished)
    return by_prompt(samples, seeds)


def check_sampling(
    prompts: dict[str, Tensor], seeds: list[list[int]], temperature: float, top_p: float, max_new_tokens: int
) -> None:
    """Refuse settings that cannot be meant."""
    rows = prompts["input_ids"].shape[0]
    if len(seeds) != rows:
        raise ValueError(
            f"seeds has {len(seeds)} lists, expected one per prompt ({rows}): give each prompt its seeds."
        )
    if not seeds or not all(seeds):
        raise ValueError("a prompt has no seed, expected one per wanted sample: drop the prompt or add a seed.")
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}, expected 0 (likeliest token) or more: raise it.")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}, expected a probability in (0, 1]: use 1 to switch it off.")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}, expected at least 1: raise it.")


def rows_of(seeds: list[list[int]]) -> Tensor:
    """Which prompt each sampled row belongs to, (N,)."""
    return torch.tensor([prompt for prompt, own in enumerate(seeds) for _ in own])


def draw_uniforms(seeds: list[list[int]], count: int) -> Tensor:
    """`count` uniform numbers per row, each row from its own generator on the CPU; (N, count) float64."""
    rows = []
    for own in seeds:
        for seed in own:
            generator = torch.Generator().manual_seed(seed)
            rows.append(torch.rand(count, generator=generator, dtype=torch.float64))
    return torch.stack(rows)


def end_tokens(vlm: VLM) -> Tensor:
    """`VLM.stop_tokens`, of which there must be one: nothing else ends an answer but its limit."""
    if not vlm.stop_tokens:
        raise ValueError("neither the tokenizer nor generation_config names an end token: set eos_token_id.")
    return torch.tensor(sorted(vlm.stop_tokens), device=next(vlm.model.parameters()).device)


def decode_turn(
    decoder: Decoder,
    noise: Tensor,
    ends: Tensor,
    temperature: float,
    top_p: float,
    limit: int,
    *,
    compact: bool = False,
    skip: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Decode until every row has ended or has `limit` tokens.

    The last token of a row is drawn but not fed to the decoder.

    Args:
        decoder: N rows.
        noise: uniform numbers, (N, limit or more).
        ends: ids that end an answer.
        temperature: see `sample_responses`.
        top_p: see `sample_responses`.
        limit: tokens per row.
        compact: drop finished rows from the decoder on the way; it is of no use afterwards.
        skip: rows that take no part in this turn, (N,) bool; they come back with length 0.

    Returns:
        Tokens (N, limit), summed log-probabilities (N,), lengths (N,), and whether a row ended (N,).
    """
    rows = torch.arange(len(noise), device=noise.device)  # rows of the decoder, as rows of the result
    tokens = torch.zeros(len(rows), limit, dtype=torch.long, device=noise.device)
    logps = torch.zeros(len(rows), device=noise.device)
    lengths = torch.zeros(len(rows), dtype=torch.long, device=noise.device)
    finished = torch.zeros(len(rows), dtype=torch.bool, device=noise.device) if skip is None else skip.clone()
    for step in range(limit):
        active = ~finished[rows]
        drawn = _draw(decoder.choices(), noise[rows, step], temperature, top_p)
        logp = decoder.logits.gather(1, drawn[:, None])[:, 0] - decoder.logits.logsumexp(1)
        now = rows[active]
        tokens[now, step] = drawn[active]
        logps[now] += logp[active]
        lengths[now] += 1
        finished[now] = torch.isin(drawn[active], ends)
        active = ~finished[rows]
        count = int(active.sum())
        if count == 0 or step == limit - 1:
            break
        if compact and count <= 0.75 * len(rows):  # a copy of the cache costs about two steps
            kept = active.nonzero().flatten()
            decoder.keep_rows(kept)
            rows, drawn, active = rows[kept], drawn[kept], active[kept]
        # Where finished rows are thrown away anyway, feeding them on saves the mask that would skip them.
        decoder.append(drawn[:, None], None if compact or count == len(rows) else active[:, None])
    return tokens, logps, lengths, finished


def _draw(logits: Tensor, uniform: Tensor, temperature: float, top_p: float) -> Tensor:
    """One token per row: the first whose cumulative probability exceeds the row's uniform number; (N,)."""
    if temperature == 0:
        return logits.argmax(1)
    weights = (logits / temperature).softmax(1).double()
    if top_p < 1:
        ordered, order = weights.sort(dim=1, descending=True, stable=True)
        before = ordered.cumsum(1) - ordered
        weights = torch.zeros_like(weights).scatter(1, order, ordered * (before < top_p))
    cumulative = weights.cumsum(1)
    drawn = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)[:, 0]
    last = weights.shape[1] - 1 - weights.flip(1).gt(0).long().argmax(1)  # rounding may pass the end
    return torch.minimum(drawn, last)


def to_samples(vlm: VLM, tokens: Tensor, logps: Tensor, lengths: Tensor, finished: Tensor) -> list[Sample]:
    """One `Sample` per row."""
    ids = [row[:length] for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    texts = vlm.tokenizer.batch_decode(ids, skip_special_tokens=True)
    parts = zip(ids, texts, logps.tolist(), finished.tolist(), strict=True)
    return [Sample(tuple(row), text, logp, ended) for row, text, logp, ended in parts]


def by_prompt(rows: list[Any], seeds: list[list[int]]) -> list[list[Any]]:
    """Group rows as the seeds are grouped."""
    grouped, done = [], 0
    for own in seeds:
        grouped.append(rows[done : done + len(own)])
        done += len(own)
    return grouped
