"""The verdict that a reply ends on, or why it has none. Nothing is guessed: an ambiguous reply is no verdict."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from data_builders.judges.confidence import is_confidence, read_confidence
from data_builders.judges.reading import Unread, plain_lines

TIE = "TIE"
_VERDICT = re.compile(r"(?:(?:my|the)\s+)?(?:final\s+)?verdict\s*(?:is\s*)?[:=]\s*(.*)", re.IGNORECASE)
_KEY = re.compile(r"[\"']verdict[\"']\s*:", re.IGNORECASE)
_JSON = re.compile(r"(\{[^{}]*\})\s*(?:```)?\s*\Z")


@dataclass(frozen=True)
class Spoken:
    """What a reply says.

    Attributes:
        label: `A`, `B` or `TIE`.
        confidence: in [0, 1]; None where none is stated.
    """

    label: str
    confidence: float | None = None


def read_verdict(text: str, *, ties: bool = True) -> Spoken | Unread:
    r"""Read the verdict of a whole reply.

    The reply must end on a line `VERDICT: A` (or `B`, `TIE`), which a line `CONFIDENCE: ...` may precede or
    follow, or on a JSON object with the key `verdict`. A verdict that is followed by further text may have been
    taken back, and one that is stated twice differently is none.

    Args:
        text: the judge's reply and nothing else; what it was shown is not read.
        ties: whether a tie was offered.

    Example:
        >>> read_verdict("B overlooks the effusion.\nVERDICT: A\nCONFIDENCE: 8")
        Spoken(label='A', confidence=0.8)
        >>> read_verdict("VERDICT: A or B").why
        "the verdict 'A or B' is none of A, B, TIE"
    """
    found = _JSON.search(text)
    if found is not None:
        return _from_json(found.group(1), text[: found.start()], ties)
    if _KEY.search(text):
        return Unread("unparsed", "the reply has a JSON verdict that is not at its end")
    lines = plain_lines(text)
    stated = [(n, match.group(1)) for n, line in enumerate(lines) if (match := _VERDICT.fullmatch(line))]
    if not stated:
        return Unread("unparsed", "the reply states no verdict")
    labels = [_label(value, ties) for _, value in stated]
    unread = next((label for label in labels if isinstance(label, Unread)), None)
    if unread is not None:
        return unread
    if len(set(labels)) > 1:
        return Unread("unparsed", f"the reply states several verdicts: {', '.join(map(str, labels))}")
    if any(not is_confidence(line) for line in lines[stated[-1][0] + 1 :]):
        return Unread("unparsed", "the verdict is not at the end of the reply")
    return Spoken(str(labels[0]), read_confidence(lines))


def _from_json(written: str, before: str, ties: bool) -> Spoken | Unread:
    try:
        pairs: list[tuple[str, Any]] = json.loads(written, object_pairs_hook=list)
    except ValueError:
        return Unread("unparsed", "the reply ends on braces that hold no JSON")
    values = {key.lower(): value for key, value in pairs}
    if len(values) != len(pairs):
        return Unread("unparsed", "the JSON object names a key twice")
    if not isinstance(values.get("verdict"), str) or not _KEY.search(written):  # nor is it spelt with escapes
        return Unread("unparsed", "the JSON object has no text under 'verdict'")
    label = _label(values["verdict"], ties)
    if isinstance(label, Unread):
        return label
    if _KEY.search(before):
        return Unread("unparsed", "the reply has several JSON verdicts")
    earlier = [_label(m.group(1), ties) for line in plain_lines(before) if (m := _VERDICT.fullmatch(line))]
    if any(other != label for other in earlier):
        return Unread("unparsed", "the reply states several verdicts")
    stated = values.get("confidence")
    return Spoken(label, None if stated is None else read_confidence([f"confidence: {stated}"]))


def _label(value: str, ties: bool) -> str | Unread:
    word = value.strip(" .!\"'()[]").upper().removeprefix("ANSWER ").strip(" \"'()[]")
    if word == TIE and not ties:
        return Unread("unparsed", "the verdict is a tie, which was not offered")
    if word in ("A", "B", TIE):
        return word
    offered = "A, B, TIE" if ties else "A, B"
    shown = value.strip()[:40]
    return Unread("unparsed", f"the verdict {shown!r} is none of {offered}")
