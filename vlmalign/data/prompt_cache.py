"""Processed prompts, kept in memory up to a limit."""

from __future__ import annotations

from torch import Tensor

from vlmalign.data.prompts import Prompt, is_token_entry


class PromptCache:
    """Processed prompts by text and pictures; prompts about the same pictures share their pixels.

    Args:
        limit: bytes of pixels; what does not fit any more is not kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._prompts: dict[tuple[str, tuple[str, ...]], Prompt] = {}
        self._pixels: dict[tuple[str, ...], dict[str, Tensor]] = {}

    def get(self, text: str, pictures: tuple[str, ...]) -> Prompt | None:
        """The prompt, if it is kept."""
        return self._prompts.get((text, pictures))

    def put(self, text: str, pictures: tuple[str, ...], prompt: Prompt) -> Prompt:
        """Keep a prompt, if there is room; returned with the pixels that are kept."""
        tokens = prompt["input_ids"]
        pixels = {k: v for k, v in prompt.items() if not is_token_entry(k, v, tokens)}
        if pictures in self._pixels:
            prompt = {**prompt, **self._pixels[pictures]}
        else:
            size = sum(value.nbytes for value in pixels.values())
            if self.bytes + size > self.limit:
                return prompt
            self.bytes += size
            self._pixels[pictures] = pixels
        self._prompts[text, pictures] = prompt
        return prompt
