"""Data made to do harm, or to carry a name out of the house: refused by name, or left behind."""

from __future__ import annotations

import io
import os
import resource
import signal
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_builders.sources.boxed import build_coco
from data_builders.sources.coco import read_coco
from data_builders.sources.contained import files_below
from data_builders.sources.npz_rows import NpzFile
from data_builders.sources.openi_reports import parse_openi
from data_builders.sources.patient_key import patient_key
from data_builders.sources.voc import read_voc
from vlmalign.records import DataError

from .test_sources_boxed import CONTENT, write_coco

LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha" * 10}">' for i in range(10))


def test_the_colour_profile_of_a_picture_of_unknown_origin_stays_behind(tmp_path: Path) -> None:
    data = write_coco(tmp_path / "data")
    for path in (data / "images").iterdir():
        Image.open(path).save(path, icc_profile=b"calibrated by Jane Doe")
    build_coco(data, tmp_path / "out", annotations="boxes.json", domain="smears", own_names=True)
    assert [Image.open(path).info for path in (tmp_path / "out").rglob("*.png")] == [{}, {}]


def test_a_pipe_in_a_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "IM0001")
    with pytest.raises(DataError, match="IM0001: this is a pipe"):
        files_below(tmp_path)


@pytest.mark.parametrize("head", ['<?xml version="1.0" encoding="none-such"?>', f"<!DOCTYPE a [{LAUGHS}]>"])
def test_an_annotation_that_unpacks_or_is_of_no_encoding_is_malformed(tmp_path: Path, head: str) -> None:
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder).mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "JPEGImages" / "a.png")
    (tmp_path / "Annotations" / "a.xml").write_text(f"{head}<annotation><filename>&l9;</filename></annotation>")
    with pytest.raises(DataError, match="a.xml.*malformed XML"):
        read_voc(tmp_path, classes=["x"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_report_that_unpacks_to_gigabytes_is_refused(encoding: str) -> None:
    report = f'<!DOCTYPE a [{LAUGHS}]><eCitation><uId id="1"/><AbstractText>&l9;</AbstractText></eCitation>'
    with pytest.raises(DataError, match="document type|malformed XML"):
        parse_openi(report.encode(encoding))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("annotations", {"id": 1, "image_id": [7], "category_id": 1, "bbox": [1, 2, 5, 4]}),
        ("annotations", {"id": 1, "image_id": 7, "category_id": {}, "bbox": [1, 2, 5, 4]}),
        ("images", {"id": 7, "file_name": "p1_a.png", "width": "20", "height": 10}),
        ("images", {"id": 7, "file_name": "p1_a.png", "width": 20, "height": None}),
        ("images", {"id": 7, "file_name": "../p1_a.png", "width": 20, "height": 10}),
        ("images", {"id": 7, "file_name": "C:/p1_a.png", "width": 20, "height": 10}),
        ("images", {"id": 7, "file_name": "p1_a.png\0", "width": 20, "height": 10}),
    ],
)
def test_an_annotation_of_wrong_kinds_is_named_and_is_no_fault_of_the_program(
    tmp_path: Path, name: str, change: dict[str, Any]
) -> None:
    data = write_coco(tmp_path / "data", **{"annotations": [], name: [*CONTENT[name][1:], change]})
    with pytest.raises(DataError, match=name):
        read_coco(data / "boxes.json", data / "images")


@pytest.mark.parametrize(("shape", "kind"), [((3, -1), "|u1"), ((-3, 2), "|u1"), ((3, 2), "|S900000000")])
def test_an_array_that_would_be_read_to_the_end_of_the_memory_is_refused(
    tmp_path: Path, shape: tuple[int, ...], kind: str
) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(100))
    with pytest.raises(DataError, match="cannot be read row by row|no numbers"):
        NpzFile(tmp_path / "x.npz")


def test_a_key_that_finds_no_space_leaves_no_half_of_one(tmp_path: Path) -> None:
    key = patient_key(tmp_path / "cases")
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match="cases.key"):
            key.keep()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not (tmp_path / "cases.key").exists()
    key.keep()
    assert patient_key(tmp_path / "cases").fingerprint == key.fingerprint
