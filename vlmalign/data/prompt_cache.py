"""Prompts of records, processed when they are first read and kept in memory up to a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from vlmalign.data.prompts import Prompt, encode_prompt, is_token_entry
from vlmalign.records import Case, DataError, Demonstration, Message, Preference, RecordFolder


@contextmanager
def naming_folder(path: Path) -> Iterator[None]:
    """Name the folder in the errors of a record."""
    try:
        yield
    except DataError as error:
        raise DataError(error.rule, error.remedy, file=path, record=error.record, field=error.field) from error


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

    def read(
        self,
        processor: Any,
        folder: RecordFolder[Any],
        record: Case | Demonstration | Preference,
        messages: Sequence[Message],
        text: str,
    ) -> Prompt:
        """The processed prompt of a record; what is not kept is made of its images.

        Args:
            processor: of the model.
            folder: of the record.
            record: has the images.
            messages: its prompt.
            text: what the chat template makes of it.

        Raises:
            DataError: an image that cannot be read, or what `encode_prompt` refuses.
        """
        pictures = tuple(ref.sha256 for ref in record.images)
        prompt = self.get(text, pictures)
        if prompt is None:
            images = [folder.image(ref, record=record.id) for ref in record.images]
            with naming_folder(folder.path):
                prompt = encode_prompt(processor, messages, images, record=record.id)
            prompt = self.put(text, pictures, prompt)
        return prompt

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
