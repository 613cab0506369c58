"""One reader's page: a single HTML file that runs from disk, loads nothing and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from jinja2 import Environment

from vlmalign.reader_study.answer_columns import answer_columns
from vlmalign.reader_study.study import PublicStudy, ReaderForm


def reader_page(study: PublicStudy, form: ReaderForm, pictures: Mapping[str, bytes] | None = None) -> str:
    """The page of one reader.

    Its Content-Security-Policy allows one script and one style, by their hashes, and pictures from disk: a script
    in a candidate's text cannot run, and nothing can be sent. Texts reach the page as JSON and are set as text
    only.

    Args:
        study: the public part.
        form: the reader's form.
        pictures: PNG bytes by name, to hold them within the page; None: they lie beside it in `images/`.
    """
    style, script = _template("form.css"), _template("form.js")
    data = {
        "study": study.study,
        "title": study.title,
        "instructions": study.instructions,
        "questions": study.questions.model_dump(mode="json"),
        "washout_days": study.washout_days,
        "reader": form.reader,
        "version": form.version,
        "columns": answer_columns(study.questions),
        "readings": [reading.model_dump(mode="json") for reading in form.readings],
        "pictures": {name: _data_url(png) for name, png in (pictures or {}).items()},
    }
    policy = (
        f"default-src 'none'; script-src '{_csp_hash(script)}'; style-src '{_csp_hash(style)}'; "
        "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
    )
    return _page().render(policy=policy, title=study.title, style=style, script=script, data=json_in_script(data))


def json_in_script(value: object) -> str:
    r"""JSON that cannot end the script element that holds it.

    Example:
        >>> json_in_script("</script>")
        '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


@cache
def _template(name: str) -> str:
    return (files("vlmalign.reader_study") / "templates" / name).read_text(encoding="utf-8")


@cache
def _page():  # type: ignore[no-untyped-def]
    return Environment(autoescape=True, keep_trailing_newline=True).from_string(_template("form.html.j2"))
