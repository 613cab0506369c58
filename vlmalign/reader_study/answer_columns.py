"""The columns of a reader's table of answers: written by the form, read by the import."""

from __future__ import annotations

from vlmalign.reader_study.study import Questions

FORMAT = "vlmalign-reader-answers@1"
WHO = ("study", "reader", "version", "reading", "position", "session", "kind")
WHEN = ("seconds", "visits", "first_shown", "answered")


def sides(questions: Questions) -> tuple[str, ...]:
    """How the texts of a screen are called."""
    return ("left", "right") if questions.texts == 2 else ("text",)


def answer_columns(questions: Questions) -> tuple[str, ...]:
    """The columns that these questions need, in order.

    Example:
        >>> asked = Questions(texts=2, preference=3, criteria=("correctness",), mark_errors=False, comment=False)
        >>> answer_columns(asked)[7:10]
        ('preference', 'correctness_left', 'correctness_right')
    """
    columns = list(WHO)
    if questions.preference:
        columns.append("preference")
    columns += [f"{name}_{side}" for name in questions.criteria for side in sides(questions)]
    if questions.mark_errors:
        columns.append("checked")
        columns += [f"{level}_{side}" for level in ("minor", "major") for side in sides(questions)]
    if questions.guess:
        columns.append("guess")
    if questions.comment:
        columns.append("comment")
    return tuple(columns + list(WHEN))
