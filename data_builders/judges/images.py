"""Images as they are sent: the file itself where it holds nothing but the picture, else its pixels alone."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from data_builders.judges.asking import JudgeImage
from vlmalign.records import DataError
from vlmalign.records.hashing import sha256_bytes

FORMATS = ("PNG", "JPEG", "WEBP")  # what chat endpoints read
MODES = ("L", "RGB")
#: what PIL tells of a file that is about pixels; anything else may be about a person
ABOUT_PIXELS = {
    "aspect", "background", "dpi", "gamma", "icc_profile", "interlace", "jfif", "jfif_density", "jfif_unit",
    "jfif_version", "progression", "progressive", "srgb",
}  # fmt: skip


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
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        rule = f"the image cannot be decoded ({error})"
        raise DataError(rule, "Fetch the file again or remove it.", file=image.path) from None
    return data, picture


def data_url(image: JudgeImage) -> str:
    """An image as a `data:` URL.

    A PNG, JPEG or WebP file in grey or RGB without any text inside is sent as it is. Of every other file the
    pixels are written anew as PNG: comments, EXIF and the like may name a person, and stay here.
    """
    data, picture = read_image(image)
    kind = picture.format or ""
    if kind not in FORMATS or picture.mode not in MODES or not set(picture.info) <= ABOUT_PIXELS:
        kind = "PNG"
        bare = picture if picture.mode in MODES else picture.convert("RGB")
        bare.info.clear()  # PIL writes some of it again
        buffer = io.BytesIO()
        bare.save(buffer, kind)
        data = buffer.getvalue()
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode('ascii')}"
