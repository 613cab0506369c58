"""Case folders as prompts to sample answers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from vlmalign.data.datasets import DataSource
from vlmalign.data.prompt_cache import PromptCache, naming_folder
from vlmalign.data.prompts import Prompt, check_places, prompt_text
from vlmalign.records import Case, DataError, RecordFolder


@dataclass(frozen=True)
class CasePrompt:
    """A case, ready to be answered.

    Attributes:
        key: name that is unique over folders.
        case: the record.
        images: its images, decoded.
        text: the prompt as the chat template renders it.
        prompt: the processor's output for it alone; token entries are (1, P).
    """

    key: str
    case: Case
    images: tuple[Image.Image, ...]
    text: str
    prompt: Prompt


class CasePrompts:
    """The cases of one or more folders, in order, repeats after one another.

    Args:
        sources: the folders.
        processor: of the model.
        max_length: longest prompt in tokens, image tokens included; a longer one is refused when it is read.
        purpose: cases of split `test` are refused for training.
        cache_megabytes: limit of processed pixels kept in memory.

    Raises:
        DataError: a folder or case that cannot be used; the message names it.
    """

    def __init__(
        self,
        sources: Sequence[DataSource],
        processor: Any,
        *,
        max_length: int | None = None,
        purpose: Literal["training", "evaluation"] = "training",
        cache_megabytes: int = 2048,
    ) -> None:
        self.processor = processor
        self.max_length = max_length
        self._cases: list[tuple[RecordFolder[Case], Case]] = []
        self._order: list[int] = []
        self._cache = PromptCache(cache_megabytes * 2**20)
        for source in sources:
            self._add(source, purpose)

    def _add(self, source: DataSource, purpose: str) -> None:
        if source.weight != 1:
            raise DataError(
                f"its weight is {source.weight}, and cases that are sampled have no loss to weight",
                "Drop weight; use repeat to see the folder's cases more often.",
                file=source.path,
            )
        folder = RecordFolder(source.path, Case)
        first = len(self._cases)
        for case in folder:
            if purpose == "training" and case.split == "test":
                raise DataError(
                    "the record is of split 'test'",
                    "Train on other cases, or split the folder by role first.",
                    file=folder.path,
                    record=case.id,
                    field="split",
                )
            text = prompt_text(self.processor, case.messages)  # what cannot be rendered is refused before training
            with naming_folder(folder.path):
                check_places(self.processor, case.messages, len(case.images), text, record=case.id)
            self._cases.append((folder, case))
        if len(self._cases) == first:
            raise DataError("the folder has no records", "Leave it out.", file=folder.path)
        self._order += [i for _ in range(source.repeat) for i in range(first, len(self._cases))]

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> CasePrompt:
        """The case at a place of the epoch (repeats count)."""
        folder, case = self._cases[self._order[index]]
        images = tuple(folder.image(ref, record=case.id) for ref in case.images)
        text = prompt_text(self.processor, case.messages)
        prompt = self._cache.read(self.processor, folder, case, case.messages, text)
        length = prompt["input_ids"].shape[1]
        if self.max_length is not None and length > self.max_length:
            raise DataError(
                f"the prompt is {length} tokens, max_length is {self.max_length}",
                "Raise max_length or leave the case out; nothing is truncated.",
                file=folder.path,
                record=case.id,
            )
        return CasePrompt(f"{folder.sha256[:12]}:{case.id}", case, images, text, prompt)
