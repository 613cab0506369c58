"""Does a picture's file hold the picture and nothing else? Looked at part by part: only known parts pass.

A library tells of the comments it knows; a name may stand as well in a part that nobody reads, in a colour
profile, in a thumbnail, or behind the picture's end.
"""

from __future__ import annotations

import struct

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_PARTS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"gAMA", b"sRGB", b"cHRM", b"pHYs", b"bKGD", b"sBIT", b"tRNS"}
WEBP_PARTS = {b"VP8 ", b"VP8L"}
JPEG_TABLES = {0xDB, 0xC4, 0xDD, *range(0xC0, 0xC4)}  # quantisation, Huffman, restart, frame (SOF0 to SOF3)
JFIF, JFIF_BYTES = 0xE0, 16  # a longer one holds a thumbnail
ADOBE, ADOBE_BYTES = 0xEE, 14  # which colours the channels are
SCAN, END = 0xDA, 0xD9


def is_bare(data: bytes) -> bool:
    """Whether a PNG, JPEG or WebP file has no part but what decoding its pixels takes.

    Example:
        >>> is_bare(b"RIFF" + (12).to_bytes(4, "little") + b"WEBPEXIF" + bytes(4))
        False
    """
    try:
        if data.startswith(PNG_START):
            return _is_bare_png(data)
        if data.startswith(b"\xff\xd8"):
            return _is_bare_jpeg(data)
        return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and _is_bare_webp(data)
    except (struct.error, IndexError):  # it ends within a part
        return False


def _is_bare_png(data: bytes) -> bool:
    place = len(PNG_START)
    while True:
        length, name = struct.unpack_from(">I4s", data, place)
        if name not in PNG_PARTS:
            return False
        place += 12 + length
        if name == b"IEND":
            return length == 0 and place == len(data)


def _is_bare_webp(data: bytes) -> bool:
    name, length = struct.unpack_from("<4sI", data, 12)
    return name in WEBP_PARTS and 20 + length + length % 2 == len(data)


def _is_bare_jpeg(data: bytes) -> bool:
    place = 2
    while True:
        if data[place] != 0xFF:
            return False
        marker = data[place + 1]
        if marker == END:
            return place + 2 == len(data)
        (length,) = struct.unpack_from(">H", data, place + 2)
        longest = {JFIF: JFIF_BYTES, ADOBE: ADOBE_BYTES}.get(marker)
        if (length != longest) if longest else marker not in (*JPEG_TABLES, SCAN):
            return False
        place += 2 + length
        if marker == SCAN:  # its pixels last until a marker that is no part of them
            while not (data[place] == 0xFF and data[place + 1] not in (0, *range(0xD0, 0xD8))):
                place = data.find(b"\xff", place + 1) % (len(data) + 1)  # none: behind the end
