"""CHAIR: objects that a caption names and the image has not; or findings that a report claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmalign.evaluation.benchmarks.answer_files import GROUPS, PREDICTIONS, Row, field_of, read_rows
from vlmalign.evaluation.benchmarks.marks import Figures, unread_note
from vlmalign.evaluation.benchmarks.object_words import ObjectWords, read_synonyms
from vlmalign.evaluation.benchmarks.protocol import (
    SCORED,
    Benchmark,
    BenchmarkResult,
    Item,
    Option,
    Table,
    count_states,
)
from vlmalign.evaluation.benchmarks.ratios import share_of_sums
from vlmalign.evaluation.benchmarks.unread import why_unread
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.records import DataError

if TYPE_CHECKING:
    from vlmalign.clinical import Logic

#: a case of whose findings nothing is known
TRUTH_UNKNOWN = "truth_unknown"
IDS = ("id", "image_id", "question_id", "index", "image")
CAPTIONS = ("caption", *PREDICTIONS, "text", "answer")


@dataclass(frozen=True, kw_only=True)
class CaptionItem(Item):
    """A caption with the objects that it names.

    Attributes:
        named: every mention, in order.
        there: objects of the image.
        unknown: objects of which it is not known whether the image has them: neither right nor false.
    """

    named: tuple[str, ...] = ()
    there: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()

    @property
    def known(self) -> list[str]:
        """Mentions of what is known to be there or not."""
        return [name for name in self.named if name not in self.unknown]

    @property
    def false(self) -> list[str]:
        """Mentions of what is not there."""
        return [name for name in self.known if name not in self.there]


def read(files: Sequence[Path], synonyms: str = "", logic: str = "") -> list[CaptionItem]:
    """Captions (image_id, caption) and the objects of each image (image_id, objects), in one file or apart.

    With `logic` the captions are reports, read by the claim parser: its findings that a report says are present
    are the mentions, and the truth is in folders of cases, or in a column `findings` (concept -> value).

    Raises:
        DataError: an image has two captions, or none of its objects are given.
    """
    captions: dict[str, tuple[Row, Any, Path]] = {}
    truths: dict[str, tuple[Row, Any]] = {}
    for file in files:
        for row in read_rows(file):
            name = field_of(row, IDS)
            found = _truth(row)
            if name is None:
                raise DataError(f"a row has none of the columns {', '.join(IDS)}", "Add one.", file=file)
            if found is not None:
                truths[str(name)] = (row, found)
            said = field_of(row, CAPTIONS[:1] if "case" in row else CAPTIONS)
            if "case" in row or isinstance(said, (list, dict)) or (found is not None and said is None):
                continue
            if str(name) in captions:
                raise DataError("the image has two captions", "Give one of each.", file=file, record=str(name))
            captions[str(name)] = (row, said, file)
    lacking = [name for name in captions if name not in truths]
    if lacking or not captions:
        raise DataError(f"of {len(captions)} captions {len(lacking)} have no objects to compare with",
                        "Give a file of image_id and objects (with --set logic: the cases with findings).",
                        file=", ".join(map(str, files)), record=lacking[0] if lacking else None)  # fmt: skip
    if logic:
        return _read_reports(captions, truths, logic)
    words = _vocabulary(truths, synonyms)
    items = [_caption(name, row, captions.get(name, (None, None))[1], found, words)
             for name, (row, found) in truths.items()]  # fmt: skip
    return items


def _truth(row: Row) -> Any:
    if "case" in row:
        return row["case"]
    found = field_of(row, ("objects", "findings", "gt_objects", "truth"))
    if found is None and isinstance(row.get("prediction"), list):
        found = row["prediction"]  # a file of id -> objects
    if found is not None and not isinstance(found, (str, list, dict)):
        raise DataError(f"its objects are {found!r}, expected a list of names", "Correct the row.",
                        record=str(field_of(row, IDS)), field="objects")  # fmt: skip
    return [part.strip() for part in found.split(",")] if isinstance(found, str) else found


def _vocabulary(truths: Mapping[str, tuple[Row, Any]], synonyms: str) -> ObjectWords:
    names = {str(name) for _, found in truths.values() for name in found}
    return read_synonyms(Path(synonyms)) if synonyms else ObjectWords({name: name for name in names})


def _caption(name: str, row: Row, said: Any, found: Any, words: ObjectWords) -> CaptionItem:
    group = field_of(row, GROUPS)
    there = frozenset(words.canonical(str(thing)) for thing in found)
    return CaptionItem(
        name, name if group is None else str(group), (), SCORED if said is not None else why_unread(None),
        named=() if said is None else tuple(words.mentions(str(said))), there=there,
    )  # fmt: skip


def _read_reports(
    captions: Mapping[str, tuple[Row, Any, Path]], truths: Mapping[str, tuple[Row, Any]], name: str
) -> list[CaptionItem]:
    from vlmalign.clinical import load_logic, parse_text

    logic = load_logic(name)
    listed = [c for c, concept in logic.concepts.items() if {"present", "absent"} <= set(concept.values)]
    items = []
    for key, (row, found) in truths.items():
        answers = _answers(found, logic)
        said = captions.get(key, (None, None))[1]
        claims = [] if said is None else parse_text(logic, str(said)).claims
        group = field_of(row, GROUPS)
        state = why_unread(None) if said is None else SCORED if answers else TRUTH_UNKNOWN
        items.append(CaptionItem(
            key, key if group is None else str(group), (), state,
            named=tuple(dict.fromkeys(c.concept for c in claims if c.value == "present" and c.concept in listed)),
            there=frozenset(c for c in listed if answers.get(c) == "present"),
            unknown=frozenset(c for c in listed if answers.get(c) not in ("present", "absent")),
        ))  # fmt: skip
    return items


def _answers(found: Any, logic: Logic) -> Mapping[str, str]:
    from vlmalign.clinical import answers_from_findings

    if isinstance(found, Mapping):
        return {str(concept): str(value) for concept, value in found.items()}
    if isinstance(found, (list, tuple)):
        raise DataError("the truth is a list of objects", "With --set logic give cases, or concept -> value.")
    findings = found.reference.findings if found.reference is not None else ()
    return answers_from_findings(logic, findings).answers if findings else {}


def score(items: Sequence[CaptionItem]) -> BenchmarkResult:
    """CHAIRs (captions with a false object), CHAIRi (false mentions), and the share of objects that were named."""
    unknown = sum(len(item.named) - len(item.known) for item in items)
    notes = [
        "chair_s: captions with a false object, of all captions, silent ones being right (the benchmark's "
        "convention); chair_s_speaking: of captions that name anything; chair_i: false mentions of all mentions",
        "low is good, and silence is lowest: read coverage (objects of the image that were named) beside it",
    ]
    if unknown:
        notes.append(f"{unknown} mentions are of what is not known of their image: in neither sum")
    rows = {"all": figures(items)}
    return BenchmarkResult(
        "chair",
        (
            Table("hallucination", "Objects that are not there", rows),
            Table("length", "Mentions per caption", {"all": {"mentions": cluster_estimate(
                [float(len(item.named)) if item.state == SCORED else None for item in items],
                [item.group for item in items], proportion=False)}}, share=False),
        ),
        count_states(items),
        _baselines(items),
        tuple(filter(None, (*notes, unread_note(items)))),
    )  # fmt: skip


def figures(items: Sequence[CaptionItem]) -> Figures:
    """The columns of the table; captions that are missing are excluded."""
    given = [item for item in items if item.state == SCORED]
    out, groups = len(items) - len(given), [item.group for item in given]
    false = [float(bool(item.false)) for item in given]
    return {
        "chair_s": cluster_estimate(false, groups, excluded=out, proportion=True),
        "chair_s_speaking": cluster_estimate(
            [value if item.known else None for value, item in zip(false, given, strict=True)],
            groups,
            excluded=out,
            proportion=True,
        ),
        "chair_i": share_of_sums(
            [len(i.false) for i in given], [len(i.known) for i in given], groups, excluded=out
        ),
        "coverage": share_of_sums(
            [len(i.there & set(i.named)) for i in given], [len(i.there) for i in given], groups, excluded=out
        ),
    }


def _baselines(items: Sequence[CaptionItem]) -> Table:
    often = [name for name, _ in Counter(name for item in items for name in item.there).most_common(3)]
    captions = {"silence": ()} | {
        f"always {', '.join(often[:k])}": tuple(often[:k]) for k in (1, 3) if len(often) >= k
    }
    rows = {}
    for name, named in captions.items():
        rows[name] = figures([
            CaptionItem(item.id, item.group, named=named, there=item.there, unknown=item.unknown) for item in items
        ])  # fmt: skip
    return Table("baselines", "Captions without a look at the image", rows)


ADAPTERS = (
    Benchmark(
        "chair",
        "CHAIR: objects (or findings) that are not there",
        "Rohrbach et al., Object Hallucination in Image Captioning, EMNLP 2018 (arXiv:1809.02156)",
        {".json, .jsonl": "captions (image_id, caption) and objects (image_id, objects; or id -> objects)",
         "folders": "with --set logic=NAME: our cases with findings, and candidates"},
        read,
        score,
        {"synonyms": Option("", "file of object names: a line each, the name and its synonyms, between commas"),
         "logic": Option("", "clinical logic whose claim parser reads the captions")},
    ),
)  # fmt: skip
