"""Reference to an image file inside a dataset folder."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from vlmalign.records.base import Part


def check_relative(path: str) -> str:
    """Return `path` if it stays inside the dataset folder, else raise ValueError.

    Example:
        >>> check_relative("images/ab/abcd.png")
        'images/ab/abcd.png'
    """
    parts = path.split("/")  # no pathlib: this runs for every image of a million records
    if not path or path.startswith("/") or "\\" in path or ":" in parts[0]:
        raise ValueError(f"path {path!r} is not relative to the dataset folder")
    if ".." in parts or "\0" in path:
        raise ValueError(f"path {path!r} leaves the dataset folder")
    return path


RelativePath = Annotated[str, AfterValidator(check_relative)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ImageRef(Part):
    """One image, by place and by content.

    Example:
        >>> ImageRef(path="images/x.png", sha256="0" * 64).modality
        'unknown'
    """

    path: RelativePath = Field(description="relative to the dataset folder; never absolute, never '..'")
    sha256: Sha256 = Field(description="SHA-256 of the file's bytes")
    modality: str = Field("unknown", description="e.g. light_microscopy, xray, oct, fundus")
    laterality: str | None = Field(None, description="left | right | bilateral, where it applies")
    frame: int | None = Field(None, ge=0, description="frame or slice in a multi-frame source")
    spacing_mm: tuple[float, float] | None = Field(None, description="pixel spacing (row, column) in millimetres")
