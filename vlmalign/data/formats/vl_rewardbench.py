"""VL-RewardBench's rows: `query`, `image`, two `response`s and `human_ranking`.

`human_ranking` holds the rank of each response, 0 the best: [0, 1] says that the first is better, [1, 0] the
second; two equal ranks are a tie, which is left out, counted and listed.
"""

from __future__ import annotations

from typing import Any

from vlmalign.data.formats.plain_pairs import prompt_of, texts_of
from vlmalign.data.formats.row import NULLS, Format, LeftOut, Read, Row, Spot, rest_of
from vlmalign.data.formats.shared_normalisations import image_places, no_placeholders
from vlmalign.records import assistant

USED = ("id", "query", "image", "response", "human_ranking")
SECOND_FIRST = [1, 0]


def read(row: Row, spot: Spot) -> Read | LeftOut:
    """A pair by the human ranking; which response stood first is kept."""
    image = spot.get(row, "image", (dict, str, bytes))
    answers = spot.get(row, "response", list)
    if len(answers) != 2 or not all(isinstance(answer, str) for answer in answers):
        raise spot.error("response", "expected two texts")
    ranks = spot.get(row, "human_ranking", list)
    if len(ranks) != 2 or any(isinstance(rank, bool) or rank not in (0, 1) for rank in ranks):
        raise spot.error("human_ranking", f"got {ranks!r}; expected the ranks 0 (better) and 1 of two responses")
    if ranks[0] == ranks[1]:
        return LeftOut("tie")
    better = ranks.index(0)
    rest = rest_of(row, USED) | ({"human_ranking": SECOND_FIRST} if better else {})
    fields = {
        "prompt": prompt_of(spot.get(row, "query"), 1, spot, "query"),
        "chosen": (assistant(answers[better]),),
        "rejected": (assistant(answers[1 - better]),),
    }
    return Read(fields, [image], rest, row.get("id"))


def write(record: Any, images: list[Any], rest: Row) -> Row:
    """A pair; the better answer is the first, unless it came as the second."""
    question, *answers = texts_of(record, images)
    ranks = rest.get("human_ranking", [0, 1])
    kept = {name: value for name, value in rest.items() if name not in ("id", "human_ranking")}
    return {
        **FORMAT.own_id(record, rest),
        "query": question,
        "image": images[0],
        "response": answers if ranks[0] == 0 else answers[::-1],
        "human_ranking": ranks,
        **kept,
    }


FORMAT = Format(
    name="vl-rewardbench",
    about="VL-RewardBench's rows (query, image, response, human_ranking)",
    kind="preference",
    container="parquet",
    read=read,
    write=write,
    holds=frozenset({"id"}),
    id_field="id",
    image_fields=("image",),
    normalisations=(NULLS, image_places("image"), no_placeholders("query")),
)
