"""Finishing conversations that stop in the middle: what a policy would go on to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from vlmalign.data.collation import encode_prompts
from vlmalign.models import load_vlm, sample_conversations, sampling_flops
from vlmalign.models.builtin import resolve_checkpoint
from vlmalign.models.loading import model_folder
from vlmalign.models.sampling import Sample
from vlmalign.records import Message, assistant, user
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.language_model import chosen_device, weights_hashes


@dataclass(frozen=True)
class Unfinished:
    """A conversation to finish, several times.

    Attributes:
        record: id, for errors.
        messages: what was said so far; ends on a user turn, the next one to answer.
        follow_ups: the user's turns after that, which are asked whatever the answers are.
        images: of the case.
        seeds: one per wanted completion.
    """

    record: str
    messages: tuple[Message, ...]
    follow_ups: tuple[str, ...]
    images: Sequence[Image.Image]
    seeds: tuple[int, ...]


class Completed(Protocol):
    """Anything that finishes conversations.

    Attributes:
        name: what decides the completions.
    """

    name: str

    def complete(self, unfinished: Sequence[Unfinished]) -> tuple[list[list[tuple[Message, ...] | None]], float]:
        """Per conversation and seed the turns that follow, None where a limit cut them; and operations taken."""
        ...


class PolicyCompletion:
    """Completions that a model samples.

    Args:
        model: its folder, or a run folder (its `model`).
        temperature: of sampling, above 0: equal completions would be counted as several.
        top_p: sample among the likeliest tokens that together reach this probability.
        max_new_tokens: per answer.
        batch_size: conversations in one batch, each with all its completions.
        device: where the model runs; "auto": the accelerator, if there is one.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_new_tokens: int = 128,
        batch_size: int = 8,
        device: str = "auto",
    ) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}, expected more than 0: completions must differ.")
        folder = resolve_checkpoint(model_folder(model))
        device = chosen_device(device)
        self.vlm = load_vlm(folder, device=device)
        self.device, self.batch_size = device, batch_size
        self.sampling = {"temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens}
        weights = weights_hashes(folder)
        self.name = f"policy@{config_hash([weights or str(model), self.sampling])[:8]}"

    def complete(self, unfinished: Sequence[Unfinished]) -> tuple[list[list[tuple[Message, ...] | None]], float]:
        """Finish conversations; one answer that the token limit cuts makes its completion None."""
        found: list[list[tuple[Message, ...] | None]] = []
        flops = 0.0
        for start in range(0, len(unfinished), self.batch_size):
            part = unfinished[start : start + self.batch_size]
            prompts = encode_prompts(
                self.vlm.processor, [u.messages for u in part], [u.images for u in part], [u.record for u in part]
            )
            prompts = {name: value.to(self.device) for name, value in prompts.items()}
            drawn = sample_conversations(
                self.vlm, prompts, [list(u.follow_ups) for u in part], seeds=[list(u.seeds) for u in part],
                temperature=self.sampling["temperature"], top_p=self.sampling["top_p"],
                max_new_tokens=int(self.sampling["max_new_tokens"]),
            )  # fmt: skip
            said = [sum(len(turn.token_ids) for turn in talk.turns) for own in drawn for talk in own]
            flops += sampling_flops(self.vlm.model, prompts, samples=len(said), new_tokens=sum(said) / len(said))
            for asked, own in zip(part, drawn, strict=True):
                found.append([_messages(asked.follow_ups, talk.turns) for talk in own])
        return found, flops


def _messages(follow_ups: Sequence[str], turns: Sequence[Sample]) -> tuple[Message, ...] | None:
    if not all(turn.finished for turn in turns):
        return None
    said = [assistant(turn.text) for turn in turns]
    rest = [message for q, a in zip(follow_ups, said[1:], strict=True) for message in (user(q), a)]
    return (said[0], *rest)
