"""Sampling conversations: the model is asked in turn and keeps its own earlier answers in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from vlmalign.models.decoding import Decoder
from vlmalign.models.loading import VLM, unwrap
from vlmalign.models.sampling import (
    Sample,
    by_prompt,
    check_sampling,
    decode_turn,
    draw_uniforms,
    end_tokens,
    rows_of,
    to_samples,
)

_QUESTION, _ANSWER = "QUESTION", "ANSWER"


@dataclass(frozen=True)
class Conversation:
    """One sampled conversation: the model's answers in order."""

    turns: tuple[Sample, ...]


@torch.no_grad()
def sample_conversations(
    vlm: VLM,
    prompts: dict[str, Tensor],
    follow_ups: list[list[str]],
    *,
    seeds: list[list[int]],
    temperature: float,
    top_p: float = 1.0,
    max_new_tokens: int,
) -> list[list[Conversation]]:
    """Ask a row of questions about each prompt's images, feeding the model its own answers.

    What the model sees before answer t is exactly the chat template's rendering of the conversation so
    far. An answer cut by the token limit is closed in that context as if it had ended; its `finished` is
    false.

    Args:
        vlm: model and processor; the model is put into evaluation mode and back.
        prompts: processor output for B prompts, each holding the images and the first question.
        follow_ups: per prompt, the user's later turns; may be empty, and differ in number.
        seeds: per prompt, one seed per wanted conversation.
        temperature: 0 takes the likeliest token.
        top_p: sample among the likeliest tokens that together reach this probability.
        max_new_tokens: limit per answer.

    Returns:
        Per prompt and seed, a conversation with `1 + len(follow_ups[b])` answers.

    Raises:
        ValueError: lists that do not fit the prompts, settings out of range, or a chat template that
            rewrites earlier turns.

    Example:
        >>> from vlmalign.models.tiny import build_tiny_llava
        >>> vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16,
        ...                        vision_layers=1, heads=2)
        >>> prompts = {"input_ids": torch.tensor([[1, 3, 3, 3, 3, 6]]), "attention_mask": torch.ones(1, 6).long(),
        ...            "pixel_values": torch.zeros(1, 3, 24, 24)}
        >>> asked = sample_conversations(vlm, prompts, [["Why?"]], seeds=[[0]], temperature=0, max_new_tokens=3)
        >>> len(asked[0][0].turns)
        2
    """
    check_sampling(prompts, seeds, temperature, top_p, max_new_tokens)
    if len(follow_ups) != len(seeds):
        raise ValueError(
            f"follow_ups has {len(follow_ups)} lists, expected one per prompt ({len(seeds)}): use [] for none."
        )
    index = rows_of(seeds).to(prompts["input_ids"].device)
    asked = _question_tokens(vlm, follow_ups)
    rounds = list(zip_longest(*(asked[prompt] for prompt in index.tolist()), fillvalue=[]))
    longest = sum(1 + max(map(len, questions)) for questions in rounds)
    limit, ends = max_new_tokens, end_tokens(vlm)
    noise = draw_uniforms(seeds, limit * (1 + len(rounds))).to(index.device)
    turns: list[list[Sample]] = [[] for _ in index]
    training = vlm.model.training
    vlm.model.eval()
    try:
        decoder = Decoder(unwrap(vlm.model), prompts, index, limit * (1 + len(rounds)) + longest)
        skip = torch.zeros(len(index), dtype=torch.bool, device=index.device)
        for number in range(1 + len(rounds)):
            uniforms = noise[:, number * limit : (number + 1) * limit]
            drawn = decode_turn(decoder, uniforms, ends, temperature, top_p, limit, skip=skip)
            for own, sample, absent in zip(turns, to_samples(vlm, *drawn), skip.tolist(), strict=True):
                if not absent:
                    own.append(sample)
            if number < len(rounds):
                skip = torch.tensor([not question for question in rounds[number]], device=index.device)
                decoder.append(*_context(turns, rounds[number], index.device))
    finally:
        vlm.model.train(training)
    return by_prompt([Conversation(tuple(own)) for own in turns], seeds)


def _question_tokens(vlm: VLM, follow_ups: list[list[str]]) -> list[list[list[int]]]:
    """Tokens between the end of an answer's text and the start of the next: its end mark, and the question."""
    tokens = {
        question: vlm.tokenizer(_between_answers(vlm, question), add_special_tokens=False).input_ids
        for question in {question for own in follow_ups for question in own}
    }
    return [[tokens[question] for question in own] for own in follow_ups]


def _between_answers(vlm: VLM, question: str) -> str:
    def turn(role: str, text: str) -> dict[str, object]:
        return {"role": role, "content": [{"type": "text", "text": text}]}

    start = [turn("user", _QUESTION), turn("assistant", _ANSWER)]
    closed = vlm.processor.apply_chat_template(start, tokenize=False)
    longer = vlm.processor.apply_chat_template(
        [*start, turn("user", question)], tokenize=False, add_generation_prompt=True
    )
    if not longer.startswith(closed) or _ANSWER not in closed:
        raise ValueError(
            f"the chat template renders {closed!r} before a further question and {longer!r} with it, expected the "
            "first to begin the second: use a template that leaves earlier turns as they are."
        )
    return longer[closed.rindex(_ANSWER) + len(_ANSWER) :]


def _context(
    turns: list[list[Sample]], questions: tuple[list[int], ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Tokens to feed before the next answer, and which are real; both (N, T), padded on the right.

    The last drawn token is not in the cache yet. If it is the end mark, it stays out: `questions` begin
    with the template's own.
    """
    blocks = []
    for own, question in zip(turns, questions, strict=True):
        last = own[-1]
        blocks.append(([] if last.finished else [last.token_ids[-1]]) + question if question else [])
    width = max(map(len, blocks))
    tokens = torch.tensor([block + [0] * (width - len(block)) for block in blocks], device=device)
    lengths = torch.tensor([len(block) for block in blocks], device=device)
    return tokens, torch.arange(width, device=device) < lengths[:, None]
