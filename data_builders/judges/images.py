"""Images as they are sent: the file itself where it holds nothing but the picture, else its pixels alone."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from data_builders.judges.asking import JudgeImage
from data_builders.judges.bare_files import is_bare
from vlmalign.records import DataError
from vlmalign.records.decoding import UndecodableError, decode
from vlmalign.records.hashing import sha256_bytes

FORMATS = ("PNG", "JPEG", "WEBP")  # what chat endpoints read
MODES = ("L", "RGB")


def read_image(image: JudgeImage) -> tuple[bytes, Image.Image]:
    """The bytes of an image, checked against its hash, and the picture, decoded whole.

    Raises:
        DataError: it is missing, has other bytes than its hash says, or cannot be decoded.
    """
    try:
        data = Path(image.path).read_bytes()
    except FileNotFoundError:
        raise DataError("the image file is missing", "Restore the file.", file=image.path) from None
    if sha256_bytes(data) != image.sha256:
        rule = "the file's SHA-256 differs from the record's"
        raise DataError(rule, "Restore the file or build the folder again.", file=image.path, field="sha256")
    try:
        picture = decode(data)
    except UndecodableError as error:
        rule = f"the image cannot be decoded ({error})"
        raise DataError(rule, "Fetch the file again or remove it.", file=image.path) from None
    return data, picture


def data_url(image: JudgeImage) -> str:
    """An image as a `data:` URL.

    A PNG, JPEG or WebP file in grey or RGB that holds nothing but the picture (`is_bare`) is sent as it is. Of
    every other file the pixels are written anew as PNG: comments, EXIF, profiles, thumbnails and what stands
    behind the picture's end may name a person, and stay here.
    """
    data, picture = read_image(image)
    kind = picture.format or ""
    if kind not in FORMATS or picture.mode not in MODES or not is_bare(data):
        kind = "PNG"
        bare = picture if picture.mode in MODES else picture.convert("RGB")
        bare.info.clear()  # PIL writes some of it again
        buffer = io.BytesIO()
        bare.save(buffer, kind)
        data = buffer.getvalue()
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode('ascii')}"
