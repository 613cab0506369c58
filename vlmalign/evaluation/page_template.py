"""Self-contained pages from templates: all text is escaped, pictures are part of the page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template

from vlmalign.records.writing import put


def page_template(name: str, package: str = "vlmalign.evaluation") -> Template:
    """A page's template, with the filter `data_uri` and this package's macros.

    Args:
        name: file below the package's folder `templates`.
        package: whose template it is.

    Raises:
        jinja2.TemplateNotFound: there is none.

    Example:
        >>> page_template("over_kl.html.j2").name
        'over_kl.html.j2'
    """
    packages = dict.fromkeys((package, "vlmalign.evaluation"))
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each, "templates") for each in packages]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["data_uri"] = data_uri
    return environment.get_template(name)


def write_page(out: str | Path, template: str, /, **values: Any) -> Path:
    """Fill one of this package's templates and write the page, replacing an earlier one in one step.

    Args:
        out: the file to write.
        template: its name, see `page_template`.
        **values: that it shows.

    Returns:
        The path written.
    """
    path = Path(out)
    put(path, page_template(template).render(**values).encode())
    return path


def data_uri(image: bytes) -> str:
    """A `data:` address that holds the image.

    Example:
        >>> data_uri(b"<svg/>")
        'data:image/svg+xml;base64,PHN2Zy8+'
    """
    kinds = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"<?xml", "svg+xml"), (b"<svg", "svg+xml"))
    for start, kind in kinds:
        if image.startswith(start):
            return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
    raise ValueError(f"an image starts with {image[:8]!r}: give the bytes of a PNG, JPEG or SVG file")
