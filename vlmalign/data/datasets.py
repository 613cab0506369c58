"""Record folders as a torch dataset of encoded examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field

from vlmalign.data.encode import EncodedResponse, Example, encode_demonstration, encode_preference
from vlmalign.data.prompt_cache import PromptCache, naming_folder
from vlmalign.data.prompts import Prompt, prompt_text
from vlmalign.records import DataError, Demonstration, Preference, RecordFolder

R = TypeVar("R", Demonstration, Preference)
_ENCODERS: dict[type, Callable[..., Example]] = {
    Demonstration: encode_demonstration,
    Preference: encode_preference,
}


class DataSource(BaseModel):
    """One dataset folder with its share in training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1, description="dataset folder")
    repeat: int = Field(1, ge=1, description="how often its records are seen in one epoch")
    weight: float = Field(1.0, gt=0, description="factor of its records' losses")


class ExampleDataset(torch.utils.data.Dataset[Example], Generic[R]):
    """Encoded examples of one or more folders, in order, repeats after one another.

    Texts are encoded when the dataset is made, so that a bad record is refused before training starts.
    Images are decoded when an example is first read; the processed pixels are kept in memory up to a limit.

    Args:
        sources: the folders.
        record_type: `Demonstration` or `Preference`.
        processor: of the model.
        stops: ids that end a turn (`VLM.stop_tokens`).
        max_length: longest prompt + response in tokens, image tokens included; a longer one is refused.
        cache_megabytes: limit of the kept pixels.
        encoder: makes an example of a record, as `encode_preference` does; default by the record's type.
        purpose: records of split `test` are refused for training.

    Raises:
        DataError: a folder or record that cannot be used; the message names it.
    """

    def __init__(
        self,
        sources: Sequence[DataSource],
        record_type: type[R],
        processor: Any,
        *,
        stops: frozenset[int] | None = None,
        max_length: int | None = None,
        cache_megabytes: int = 2048,
        encoder: Callable[..., Example] | None = None,
        purpose: Literal["training", "evaluation"] = "training",
    ) -> None:
        self.processor = processor
        self.max_length = max_length
        self.folders: list[RecordFolder[R]] = []
        self.records: list[R] = []
        self._folder_of: list[int] = []
        self._weights: list[float] = []
        self.order: list[int] = []
        self._encoded: list[Example] = []
        self._encoder = encoder or _ENCODERS[record_type]
        self._cache = PromptCache(cache_megabytes * 2**20)
        for source in sources:
            self._add(source, record_type, stops, purpose)

    def _add(self, source: DataSource, record_type: type[R], stops: frozenset[int] | None, purpose: str) -> None:
        folder = RecordFolder(source.path, record_type)
        first = len(self.records)
        for record in folder:
            if purpose == "training" and record.split == "test":
                raise DataError(
                    "the record is of split 'test'",
                    "Train on other records, or build the folder from training cases.",
                    file=folder.path,
                    record=record.id,
                    field="split",
                )
            self.records.append(record)
            self._folder_of.append(len(self.folders))
            self._weights.append(source.weight)
            with naming_folder(folder.path):
                self._encoded.append(self._encoder(self.processor, record, {}, stops))
        if len(self.records) == first:
            raise DataError("the folder has no records", "Leave it out.", file=folder.path)
        self.folders.append(folder)
        self.order += [i for _ in range(source.repeat) for i in range(first, len(self.records))]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Example:
        """The example at a place of the epoch (repeats count)."""
        return self.example(self.order[index])

    def key(self, record: int) -> str:
        """Name of a record that is unique over folders: hash of the folder's records, then the id."""
        return f"{self.folder(record).sha256[:12]}:{self.records[record].id}"

    def folder(self, record: int) -> RecordFolder[Any]:
        """The folder that a record comes from, by its number."""
        return self.folders[self._folder_of[record]]

    def folder_number(self, record: int) -> int:
        """Place among the sources of the folder that a record comes from, by the record's number."""
        return self._folder_of[record]

    def responses(self, record: int) -> tuple[EncodedResponse, ...]:
        """The answers of a record, by its number; no image is read."""
        return self._encoded[record].responses

    def example(self, record: int) -> Example:
        """The example of a record, by its number (repeats do not count)."""
        encoded = self._encoded[record]
        prompt = self._prompt(record)
        self._check_length(prompt["input_ids"].shape[1], record)
        return replace(encoded, id=self.key(record), prompt=prompt, weight=encoded.weight * self._weights[record])

    def check_all(self) -> None:
        """Read every example once, so that a long or damaged one is refused before training."""
        for record in range(len(self.records)):
            self.example(record)

    def _prompt(self, number: int) -> Prompt:
        record, folder = self.records[number], self.folder(number)
        text = prompt_text(self.processor, record.prompt)
        return self._cache.read(self.processor, folder, record, record.prompt, text)

    def _check_length(self, prompt: int, record: int) -> None:
        longest = prompt + max(len(response) for response in self._encoded[record].responses)
        if self.max_length is not None and longest > self.max_length:
            raise DataError(
                f"prompt ({prompt} tokens) and response are {longest} tokens, max_length is {self.max_length}",
                "Raise max_length or leave the record out; nothing is truncated.",
                file=self.folder(record).path,
                record=self.records[record].id,
            )
