"""Images as foreign rows name them: a path, base64, or bytes. None is fetched from a network."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from vlmalign.data.formats.row import Spot
from vlmalign.records import DataError, load_image
from vlmalign.records.decoding import UndecodableError
from vlmalign.records.decoding import decode as decode_image
from vlmalign.records.hashing import sha256_bytes, sha256_file

LONGEST_PATH = 1024


class Pictures:
    """Finds the images of rows; a path may lead nowhere but below the folder of images.

    Args:
        root: the folder that relative paths start from.

    Example:
        >>> pictures = Pictures(Path("."))
        >>> pictures.find("https://a.org/x.png", Spot(Path("rows.jsonl"), 3), "images.0")
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: rows.jsonl, record 'row 3', field 'images.0': the image is an address \
(https://a.org/x.png). Download it first, and name the file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def find(self, value: Any, spot: Spot, field: str) -> Path | bytes:
        """The file, or the bytes, of an image.

        Raises:
            DataError: an address, a path outside of the folder, a missing file, or something else than an image.
        """
        if isinstance(value, dict):
            inner, path = value.get("bytes"), value.get("path")
            if isinstance(inner, bytes) and inner:
                return inner
            value = inner if isinstance(inner, str) and inner else path
        if isinstance(value, bytes) and value:
            return value
        if not isinstance(value, str) or not value:
            raise spot.error(field, f"got a {type(value).__name__} for an image; expected a path, bytes or base64")
        if value.startswith("data:") or len(value) > LONGEST_PATH:
            return _from_base64(value, spot, field)
        if value.startswith("file://"):
            value = unquote(urlparse(value).path)
        if "://" in value:
            rule = f"the image is an address ({value})"
            raise spot.error(field, rule, "Download it first, and name the file.")
        return self._file(value, spot, field)

    def sha256(self, value: Any, spot: Spot, field: str, *, decode: bool = True) -> str:
        """SHA-256 of an image, after it was decoded whole.

        Raises:
            DataError: as `find`, or the image cannot be decoded.
        """
        found = self.find(value, spot, field)
        try:
            if decode and isinstance(found, bytes):
                decode_image(found)
            elif decode and isinstance(found, Path):
                load_image(found)
        except DataError as error:
            raise spot.error(field, f"{error.file}: {error.rule}", error.remedy) from None
        except UndecodableError as error:
            raise spot.error(field, f"the image's bytes cannot be decoded ({error})") from None
        return sha256_bytes(found) if isinstance(found, bytes) else sha256_file(found)

    def _file(self, value: str, spot: Spot, field: str) -> Path:
        if "\0" in value:
            raise spot.error(field, "the path holds a zero byte")
        path = (self.root / value).resolve()
        if not path.is_relative_to(self.root):
            rule = f"the path {value!r} leads out of the folder of images, {self.root}"
            raise spot.error(field, rule, "Pass the folder that holds all images with --images.")
        if not path.is_file():
            rule = f"the image file {value!r} is missing below {self.root}"
            raise spot.error(field, rule, "Restore it, or pass the folder that holds the images with --images.")
        return path


def _from_base64(value: str, spot: Spot, field: str) -> bytes:
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise spot.error(field, "the image is neither a path nor valid base64") from None
