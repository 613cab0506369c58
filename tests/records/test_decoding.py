"""Pictures that were made to do harm are damaged pictures: one error, and nothing else happens."""

import struct
import subprocess
import zlib

import pytest
from PIL import EpsImagePlugin, Image

from vlmalign.records import DataError, load_image
from vlmalign.records.decoding import UndecodableError, decode


def part(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*parts, size=(1, 1)):
    header = part(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    pixels = part(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(parts) + pixels + part(b"IEND", b"")


UNPACKS = zlib.compress(bytes(50_000_000))


@pytest.mark.parametrize(
    "data",
    [
        png(part(b"zTXt", b"k\0\0" + UNPACKS)),
        png(part(b"iCCP", b"k\0\0" + UNPACKS)),
        png(size=(100_000, 100_000)),
        png()[:20],
        b"\x89PNG\r\n\x1a\n" + part(b"IHDR", b"\0"),
        b"P6 3\x14 2 255 ",
        b"BM" + bytes(60),
    ],
    ids=["text", "profile", "pixels", "cut", "header", "numbers", "empty"],
)
def test_what_would_fill_the_memory_or_makes_no_sense_is_one_error_that_names_the_file(tmp_path, data):
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(DataError, match="x.png: the image cannot be decoded"):
        load_image(tmp_path / "x.png")
    with pytest.raises(UndecodableError):
        decode(data)


def test_no_picture_starts_another_program(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("ghostscript was called"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n")
    with pytest.raises(DataError, match="cannot identify image file"):
        load_image(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_common_formats_are_read_whatever_the_name_says(tmp_path, kind):
    Image.new("RGB", (4, 3), "white").save(tmp_path / "x.dat", kind)
    found = load_image(tmp_path / "x.dat")
    assert (found.size, found.mode, found.getpixel((0, 0))) == ((4, 3), "RGB", (255, 255, 255))
