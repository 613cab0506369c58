"""One answer in two styles, word for word the same: plain sentences, and a list with bold heads."""

from __future__ import annotations

import re

HEAD_WORDS = 2
_BULLET = re.compile(r"^\s*(?:[-*+•]|\d{1,2}[.)]|#{1,6})\s+")
_MARKS = re.compile(r"\*\*|__|`")
_BREAK = re.compile(r"(?<=[.!?])\s+")


def sentences(text: str) -> list[str]:
    r"""The sentences of a text or list, without bullets, heading marks, numbers of items and bold marks.

    Example:
        >>> sentences("- **A leukocyte** is present.\n- Stain: pale")
        ['A leukocyte is present.', 'Stain: pale']
    """
    lines = [_MARKS.sub("", _BULLET.sub("", line)).strip() for line in text.splitlines()]
    return [part for line in lines for part in _BREAK.split(line) if part]


def concise(text: str) -> str:
    r"""The answer as plain sentences in one paragraph; a sentence without an end gets a full stop.

    A text of one sentence keeps its end as it is ("Yes" stays "Yes"). Tables are left as they are.

    Example:
        >>> concise("## Findings\n- **A leukocyte** is present.\n- stain pale")
        'Findings. A leukocyte is present. stain pale.'
    """
    parts = sentences(text)
    if len(parts) < 2:
        return "".join(parts)
    return " ".join(part if part[-1] in ".!?:;" else f"{part}." for part in parts)


def markdown(text: str) -> str:
    """The same sentences as a list whose items begin with their first words in bold. No word is added.

    Example:
        >>> print(markdown("A leukocyte is present. The stain is pale."))
        - **A leukocyte** is present.
        - **The stain** is pale.
    """
    return "\n".join(f"- {_bold_head(part)}" for part in sentences(concise(text)))


def _bold_head(sentence: str) -> str:
    words = sentence.split(" ")
    head = " ".join(words[: min(HEAD_WORDS, max(1, len(words) - 1))])
    return " ".join([f"**{head}**", *words[len(head.split(" ")) :]])
