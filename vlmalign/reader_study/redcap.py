"""A study as a REDCap project: data dictionary, records to import, and the plain table of the same study.

One record is one reading; the reader, the position and the texts are fields that the import fills. REDCap shows
labels as HTML, so texts stand in fields of their own (which it shows as text) and every label is escaped.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from vlmalign.reader_study.answer_columns import WHO, sides
from vlmalign.reader_study.study import PublicStudy, Questions, ReaderForm

DICTIONARY = (
    "Variable / Field Name", "Form Name", "Section Header", "Field Type", "Field Label",
    "Choices, Calculations, OR Slider Labels", "Field Note", "Text Validation Type OR Show Slider Number",
    "Text Validation Min", "Text Validation Max", "Identifier?",
    "Branching Logic (Show field only if...)", "Required Field?", "Custom Alignment",
    "Question Number (surveys only)", "Matrix Group Name", "Matrix Ranking?", "Field Annotation",
)  # fmt: skip
FORM = "reading"
AGREE = "1, Strongly disagree | 2, Disagree | 3, Neutral | 4, Agree | 5, Strongly agree"
PREFER = {
    3: "1, Left is better | 2, No difference | 3, Right is better",
    5: "1, Left is much better | 2, Left is better | 3, No difference | 4, Right is better | 5, Right is much "
    "better",
}
GUESS = {2: "1, The left one | 2, The right one | 3, I cannot tell", 1: "1, Yes | 2, No | 3, I cannot tell"}
ASK = "Which text would you rather sign?"
FORMULA = re.compile(r"(^|[;\t\r\n])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def data_dictionary(study: PublicStudy) -> str:
    """The data dictionary, 18 columns."""
    q = study.questions
    rows = [_row("record_id", "Reading", type="text")]
    rows += [_row(name, label, type="text", annotation="@READONLY") for name, label in (
        ("study", "Study"), ("reader", "Reader"), ("version", "Version of the form"), ("position", "Screen"),
        ("session", "Part of the study"), ("kind", "Kind"), ("images", "Images"),
    )]  # fmt: skip
    rows.append(_row("prompt", "Question to the image", type="notes", annotation="@READONLY"))
    for n, side in enumerate(sides(q)):
        header = "Texts" if n == 0 else ""
        label = {"left": "Left text", "right": "Right text", "text": "Text"}[side]
        rows.append(_row(f"{side}_text" if side != "text" else "text", label, type="notes", section=header,
                         annotation="@READONLY"))  # fmt: skip
    return _csv(DICTIONARY, rows + _question_rows(q))


def _question_rows(q: Questions) -> list[list[str]]:
    rate, rows = "[kind] = 'rate'", []
    for name in q.criteria:
        for side in sides(q):
            label = f"The {'' if side == 'text' else side + ' '}text: {name.replace('_', ' ')}"
            rows.append(_row(f"{name}_{side}", label, type="radio", choices=AGREE, branch=rate, required=True))
    if q.mark_errors:
        for level, note in (("minor", "would change nothing"), ("major", "would change what is done")):
            for side in sides(q):
                label = f"{level.capitalize()} errors in the {'' if side == 'text' else side + ' '}text"
                rows.append(_row(f"{level}_{side}", label, type="text", branch=rate,
                                 note=f"numbers of the sentences, e.g. 2 5; {note}"))  # fmt: skip
        ask = "Every error that I see is marked"
        rows.append(_row("checked", ask, type="radio", choices="1, Yes", branch=rate, required=True))
    if q.preference:
        rows.append(
            _row("preference", ASK, type="radio", choices=PREFER[q.preference], branch=rate, required=True)
        )
    if q.guess:
        rows.append(_row("guess", q.guess, type="radio", choices=GUESS[q.texts], branch="[kind] = 'guess'",
                         required=True))  # fmt: skip
    if q.comment:
        rows.append(_row("comment", "Comment", type="notes"))
    return rows


def _row(
    name: str,
    label: str,
    *,
    type: str,  # noqa: A002  - REDCap's word
    choices: str = "",
    section: str = "",
    note: str = "",
    branch: str = "",
    required: bool = False,
    annotation: str = "",
) -> list[str]:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"variable {name!r}: REDCap allows lower-case letters, digits and underscores")
    return [name, FORM, section, type, html.escape(label), choices, html.escape(note), "", "", "", "", branch,
            "y" if required else "", "", "", "", "", annotation]  # fmt: skip


def import_records(study: PublicStudy, forms: Iterable[ReaderForm]) -> str:
    """One record for each reading, to be imported into the project."""
    texts = ["text"] if study.questions.texts == 1 else ["left_text", "right_text"]
    header = ["record_id", "study", "reader", "version", "position", "session", "kind", "images", "prompt", *texts]
    rows = [
        [
            r.id,
            study.study,
            form.reader,
            form.version,
            str(place),
            str(r.session),
            r.kind,
            " ".join(r.images),
            r.prompt,
        ]
        + ["".join(text) for text in r.texts]
        for form in forms
        for place, r in enumerate(form.readings, start=1)
    ]
    return _csv(header, rows)


def plain_table(study: PublicStudy, form: ReaderForm, columns: Sequence[str]) -> str:
    """One reader's study as a table to be filled in: texts first, then the empty columns of the answers.

    What a spreadsheet would take for a formula gets an apostrophe before it, also behind a semicolon, tab or line
    break: many spreadsheets part cells there as well.
    """
    texts = ["text"] if study.questions.texts == 1 else ["left_text", "right_text"]
    asked = columns[len(WHO) :]
    header = [*WHO, "images", "prompt", *texts, *asked]
    rows = [
        [study.study, form.reader, form.version, r.id, str(place), str(r.session), r.kind, " ".join(r.images)]
        + [_no_formula(r.prompt)]
        + [_no_formula(_numbered(text, study.questions.mark_errors)) for text in r.texts]
        + [""] * len(asked)
        for place, r in enumerate(form.readings, start=1)
    ]
    return "\ufeff" + _csv(header, rows, quoting=csv.QUOTE_ALL)


def _numbered(text: Sequence[str], number: bool) -> str:
    return "".join(f"[{i}] {s}" for i, s in enumerate(text, start=1)) if number else "".join(text)


def _no_formula(text: str) -> str:
    return FORMULA.sub(r"\1'", text)


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]], quoting: Literal[0, 1] = csv.QUOTE_MINIMAL) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n", quoting=quoting)
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()
