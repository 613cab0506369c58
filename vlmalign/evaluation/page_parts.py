"""What pages hold beside tables: figures for a light and a dark page, and examples with what was answered."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from PIL import Image

from vlmalign.evaluation.report_metrics import Span

LONGEST_SIDE = 512


@dataclass(frozen=True)
class Figure:
    """A figure with a caption that says n; `dark` is its version for a dark page."""

    title: str
    caption: str
    image: bytes
    dark: bytes | None = None

    @classmethod
    def drawn(cls, title: str, caption: str, draw: Callable[..., bytes], *args: Any, **options: Any) -> Figure:
        """A figure that is drawn for a light page and for a dark one.

        Args:
            title: of it.
            caption: below it.
            draw: makes the image; takes `dark` beside what is given here.
            *args: for `draw`.
            **options: for `draw`.

        Example:
            >>> Figure.drawn("t", "c", lambda name, dark: f"{name} {dark}".encode(), "x").dark
            b'x True'
        """
        light, dark = (draw(*args, **options, dark=dark) for dark in (False, True))
        return cls(title, caption, light, dark)


class ExampleAnswer(NamedTuple):
    """What one arm answered to an example, cut into spans (see `mark_report`)."""

    arm: str
    spans: Sequence[Span]


@dataclass(frozen=True)
class Example:
    """A case with what is true of it and the answers of one or more arms, shown side by side.

    Attributes:
        title: e.g. the case id.
        images: PNG, JPEG or SVG bytes.
        question: the prompt; empty where it is not known.
        answers: one per arm.
        truth: concept -> value.
        note: why it was chosen; say so if it was not drawn at random.
    """

    title: str
    images: Sequence[bytes]
    question: str
    answers: Sequence[ExampleAnswer]
    truth: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


def small_png(image: Image.Image) -> bytes:
    """A picture as PNG bytes, its longer side at most 512 pixels."""
    image = image.copy()
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
