"""Reading annotations in Pascal-VOC XML, with every check made before anything is used.

A folder holds `JPEGImages/` and `Annotations/`, one XML per photograph. Coordinates are taken as written:
0 <= xmin < xmax <= width, in pixels. A photograph without an XML is an error, not a photograph without cells.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.parsers import expat

from vlmalign.records import DataError, load_image
from vlmalign.records.hashing import sha256_bytes, sha256_file

OnBad = Literal["refuse", "skip"]
SUFFIXES = (".jpg", ".jpeg", ".png")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocBox:
    """One annotated object: its class and its box (x0, y0, x1, y1) in pixels of the photograph."""

    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class VocPhotograph:
    """One photograph and its sound boxes."""

    stem: str
    image: Path
    width: int
    height: int
    boxes: tuple[VocBox, ...]
    bad_boxes: int  # left out: no area, or not inside the picture
    sha256: str = ""  # of the hashes of the image's and the annotation's bytes


def read_voc(data: str | Path, *, classes: Collection[str], on_bad: OnBad = "refuse") -> list[VocPhotograph]:
    """Read and check a whole folder; photographs in order of their names.

    Args:
        data: folder with `JPEGImages/` and `Annotations/`.
        classes: the class names that may occur.
        on_bad: "refuse" raises at a box without area or outside its picture; "skip" leaves such boxes out
            and counts them. Everything else that is wrong is always refused.

    Returns:
        One entry per photograph.

    Raises:
        DataError: folder missing or empty; an image that cannot be decoded; malformed XML; XML that names a
            missing image or another size than the image has; an image without XML; two images of one stem;
            two XML files for one image; an unknown class; a bad box.
        ValueError: `on_bad` is something else.

    Example:
        >>> read_voc("/no/such/folder", classes=["RBC"])
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: /no/such/folder/JPEGImages: no such folder. Pass the folder that \
holds JPEGImages and Annotations.
    """
    if on_bad not in ("refuse", "skip"):
        raise ValueError(f"on_bad is {on_bad!r}: 'refuse' or 'skip' is required")
    root = Path(data)
    images = _images(root / "JPEGImages")
    annotations = sorted(_folder(root / "Annotations").glob("*.xml"))
    if not annotations:
        raise DataError("the folder holds no XML file", "Fetch the annotations again.", file=root / "Annotations")
    found: dict[str, VocPhotograph] = {}
    for path in annotations:
        photograph = _photograph(path, images, classes, on_bad)
        if photograph.stem in found:
            raise DataError(
                f"a second annotation of image {photograph.image.name}",
                "Keep one XML file per image.",
                file=path,
                field="filename",
            )
        found[photograph.stem] = photograph
    for stem, image in images.items():
        if stem not in found:
            raise DataError(
                "the image has no annotation, which is not the same as having no cells",
                f"Add Annotations/{stem}.xml or remove the image.",
                file=image,
            )
    return [found[stem] for stem in sorted(found)]


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise DataError("no such folder", "Pass the folder that holds JPEGImages and Annotations.", file=path)
    return path


def _images(folder: Path) -> dict[str, Path]:
    images: dict[str, Path] = {}
    for path in sorted(_folder(folder).iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in images:
            raise DataError(
                f"duplicate image stem {path.stem!r}, also used by {images[path.stem].name}",
                "Annotations are found by stem: rename or remove one of the two.",
                file=path,
            )
        images[path.stem] = path
    if not images:
        raise DataError(f"the folder holds no image ({', '.join(SUFFIXES)})", "Fetch the data again.", file=folder)
    return images


def _photograph(path: Path, images: dict[str, Path], classes: Collection[str], on_bad: OnBad) -> VocPhotograph:
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise DataError(
            f"malformed XML ({error})", "Fetch the file again or repair it.", file=path, line=error.position[0]
        ) from None
    except (LookupError, ValueError) as error:  # an encoding that does not exist, or is none
        raise DataError(f"malformed XML ({error})", "Fetch the file again or repair it.", file=path) from None
    name = (root.findtext("filename") or "").strip()
    image = images.get(Path(name).stem)
    if image is None or image.name != name:
        raise DataError(
            f"the annotation names image {name!r}, which is not in JPEGImages",
            "Restore the image or remove the annotation.",
            file=path,
            field="filename",
        )
    width, height = (_whole(path, root, f"size/{side}") for side in ("width", "height"))
    size = load_image(image).size  # decodes all of it, so a truncated file is found here
    if size != (width, height):
        raise DataError(
            f"the annotation says {width} x {height} pixels, {image.name} has {size[0]} x {size[1]}",
            "The boxes belong to another version of the image: fetch both again.",
            file=path,
            field="size",
        )
    boxes: list[VocBox] = []
    bad = 0
    for number, item in enumerate(root.findall("object")):
        box = _box(path, item, number, classes)
        problem = _problem(box.box, width, height)
        if problem is None:
            boxes.append(box)
        elif on_bad == "skip":
            bad += 1
        else:
            raise DataError(
                f"the box {_written(box.box)} of a {box.name} {problem}",
                "Correct it, or leave such boxes out and count them: --on-bad skip (on_bad='skip').",
                file=path,
                line=_object_line(path, number),
                field=f"object[{number}].bndbox",
            )
    digest = sha256_bytes((sha256_file(image) + sha256_file(path)).encode())
    return VocPhotograph(image.stem, image, width, height, tuple(boxes), bad, digest)


def _box(path: Path, item: ElementTree.Element, number: int, classes: Collection[str]) -> VocBox:
    name = (item.findtext("name") or "").strip()
    if name not in classes:
        raise DataError(
            f"unknown class {name!r}; known are {', '.join(sorted(classes))}",
            "Correct the name; an unknown class is never left out silently.",
            file=path,
            line=_object_line(path, number),
            field=f"object[{number}].name",
        )
    x0, y0, x1, y1 = (_number(path, item, f"bndbox/{corner}", f"object[{number}].") for corner in CORNERS)
    return VocBox(name, (x0, y0, x1, y1))


def _object_line(path: Path, number: int) -> int:
    """The line on which an object begins, the first one being number 0."""
    builder = expat.ParserCreate()
    lines: list[int] = []
    depth = 0

    def begin(tag: str, _: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == 2 and tag == "object":
            lines.append(builder.CurrentLineNumber)

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    builder.StartElementHandler, builder.EndElementHandler = begin, end
    builder.Parse(path.read_bytes(), True)
    return lines[number]


def _problem(box: tuple[float, float, float, float], width: int, height: int) -> str | None:
    x0, y0, x1, y1 = box
    if x0 >= x1 or y0 >= y1:
        return "has no area"
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        return f"leaves the picture of {width} x {height} pixels"
    return None


def _written(box: tuple[float, float, float, float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"


def _number(path: Path, element: ElementTree.Element, name: str, prefix: str = "") -> float:
    text = element.findtext(name)
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if value != value or value in (float("inf"), float("-inf")):
        raise DataError(
            f"{text!r} is not a number", "Repair the file.", file=path, field=prefix + name.replace("/", ".")
        )
    return value


def _whole(path: Path, element: ElementTree.Element, name: str) -> int:
    value = _number(path, element, name)
    if value != int(value) or value < 1:
        raise DataError(
            f"{value:g} is not a positive whole number",
            "Repair the file.",
            file=path,
            field=name.replace("/", "."),
        )
    return int(value)
