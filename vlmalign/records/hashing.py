"""Content hashes: of files, of configurations, and perceptual hashes of pictures."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from PIL import Image


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_hash(config: Any) -> str:
    """Hash of a JSON-like configuration, independent of key order.

    Example:
        >>> config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
        True
    """
    return sha256_bytes(json.dumps(config, sort_keys=True, separators=(",", ":")).encode())


def derive_seed(*parts: Any) -> int:
    """A 63-bit seed from names and numbers, the same on every machine.

    Example:
        >>> derive_seed(0, "case-1") == derive_seed(0, "case-1") != derive_seed(1, "case-1")
        True
    """
    return int(sha256_bytes(repr(parts).encode())[:16], 16) >> 1


def pseudonym(value: str, key: bytes) -> str:
    """Keyed pseudonym of an identifier: HMAC-SHA256, first 16 hexadecimal digits.

    The key must be kept outside the dataset folder: whoever holds both can test guesses of an identifier.

    Example:
        >>> pseudonym("patient-7", b"secret") == pseudonym("patient-7", b"other")
        False
    """
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:16]


def difference_hash(image: Image.Image) -> int:
    """64-bit perceptual hash: signs of horizontal differences of the 9 x 8 grey thumbnail.

    Near-duplicates (re-encoded, rescaled) differ in few bits; unrelated pictures in about 32.

    Example:
        >>> difference_hash(Image.new("L", (32, 32)))
        0
    """
    import numpy as np  # here, as the command line imports this package for its --help

    thumbnail = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (thumbnail[:, 1:] > thumbnail[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
