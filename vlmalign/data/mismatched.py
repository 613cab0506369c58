"""For each pair, an answer that was given to another prompt: what KTO estimates its reference point from."""

from __future__ import annotations

import torch

from vlmalign.data.datasets import ExampleDataset
from vlmalign.data.encode import EncodedResponse
from vlmalign.records import DataError, Preference
from vlmalign.records.hashing import derive_seed


def mismatched_answers(data: ExampleDataset[Preference], seed: int) -> list[EncodedResponse]:
    """Draw one answer for each record from the records of other cases.

    Records stand in a random circle that depends on the seed alone; each takes the chosen or the rejected answer,
    by a coin, of the first record after it that is of another case (id) and asks something else (prompt and
    images). So nearly every record gives one answer. With `max_length`, answers that are too long are passed
    over. A record that is there twice has the same answer twice.

    Args:
        data: the pairs.
        seed: of circle and coins.

    Returns:
        By number of record.

    Raises:
        DataError: naming a record for which there is none.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "mismatched"))
    n = len(data.records)
    circle = torch.randperm(n, generator=generator).tolist()
    coins = torch.randint(2, (n,), generator=generator).tolist()
    found: dict[str, EncodedResponse] = {}
    for place, number in enumerate(circle):
        if data.key(number) in found:  # a folder that is named twice
            continue
        own = data.records[number]
        for other in (circle[(place + step) % n] for step in range(1, n)):
            answer = data.responses(other)[coins[number]]
            if _is_foreign(own, data.records[other]) and _fits(data, number, answer):
                found[data.key(number)] = answer
                break
        else:
            raise DataError(
                "no answer to another case's prompt is there"
                + ("" if data.max_length is None else f" that fits max_length {data.max_length}")
                + ", and kto compares with such answers",
                "Add pairs of other cases to the data, or choose another loss.",
                file=data.folder(number).path,
                record=own.id,
            )
    return [found[data.key(number)] for number in range(n)]


def _is_foreign(own: Preference, other: Preference) -> bool:
    def question(record: Preference) -> object:
        return record.prompt, tuple(image.sha256 for image in record.images)

    return own.case_id != other.case_id and question(own) != question(other)


def _fits(data: ExampleDataset[Preference], number: int, answer: EncodedResponse) -> bool:
    if data.max_length is None:
        return True
    return data.example(number).prompt["input_ids"].shape[1] + len(answer) <= data.max_length
