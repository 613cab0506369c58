"""Reading a COCO annotation file (bounding boxes), with every check made before anything is used."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_builders.sources.contained import contained
from vlmalign.records import DataError


@dataclass(frozen=True)
class CocoImage:
    """One picture: boxes (x0, y0, x1, y1) by category, and the categories that a crowd box leaves open."""

    name: str
    file: Path
    boxes: tuple[tuple[str, tuple[float, float, float, float]], ...]
    crowds: tuple[str, ...]
    bad_boxes: int
    size: tuple[int, int]


@dataclass(frozen=True)
class CocoFile:
    """What the file holds, pictures by name."""

    categories: tuple[str, ...]
    images: tuple[CocoImage, ...]


def read_coco(file: Path, folder: Path, *, on_bad: str = "refuse") -> CocoFile:
    """Read and check an annotation file; pictures are not opened.

    Args:
        file: the json file.
        folder: of the pictures.
        on_bad: "skip" leaves out boxes without area or outside their picture, and counts them.

    Raises:
        DataError: not json, an entry without what it needs, an id twice, an unknown picture or category, a path
            that leaves the folder, or, without "skip", a bad box. The error names the entry.
    """
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise DataError("no such file", "Check --set annotations.", file=file) from None
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(f"not json ({error})", "Fetch it again.", file=file) from None
    categories = {
        entry["id"]: str(entry["name"]) for entry in _entries(content, "categories", ("id", "name"), file)
    }
    images = {
        entry["id"]: entry for entry in _entries(content, "images", ("id", "file_name", "width", "height"), file)
    }
    for key, entry in images.items():
        if not all(isinstance(entry[side], (int, float)) and entry[side] > 0 for side in ("width", "height")):
            raise DataError(
                f"the size {entry['width']!r} x {entry['height']!r} is not two positive numbers",
                "Repair it.",
                file=file,
                field=f"images[id={key}]",
            )
    boxes: dict[Any, list[tuple[str, tuple[float, float, float, float]]]] = {key: [] for key in images}
    crowds: dict[Any, list[str]] = {key: [] for key in images}
    bad = dict.fromkeys(images, 0)
    for number, entry in enumerate(
        _entries(content, "annotations", ("id", "image_id", "category_id", "bbox"), file)
    ):
        place = f"annotations[{number}]"
        told = (entry["image_id"], entry["category_id"])
        if (
            not all(isinstance(one, (int, str)) for one in told)
            or told[0] not in images
            or told[1] not in categories
        ):
            raise DataError(
                f"image {entry['image_id']!r} or category {entry['category_id']!r} is not in the file",
                "Fetch it again.",
                file=file,
                field=place,
            )
        image, name = images[entry["image_id"]], categories[entry["category_id"]]
        box = _box(entry["bbox"], file, place)
        problem = _problem(box, image["width"], image["height"])
        if entry.get("iscrowd"):
            crowds[entry["image_id"]].append(name)
        elif problem is None:
            boxes[entry["image_id"]].append((name, box))
        elif on_bad == "skip":
            bad[entry["image_id"]] += 1
        else:
            raise DataError(
                f"the box {entry['bbox']} of a {name} {problem}",
                "Correct it, or leave such boxes out and count them: --on-bad skip (on_bad='skip').",
                file=file,
                field=f"{place}.bbox",
            )
    found = [
        CocoImage(
            str(entry["file_name"]),
            contained(folder, str(entry["file_name"]), file=file, field=f"images[id={key}].file_name"),
            tuple(boxes[key]),
            tuple(dict.fromkeys(crowds[key])),
            bad[key],
            (entry["width"], entry["height"]),
        )
        for key, entry in images.items()
    ]
    names = [image.name for image in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"picture {twice!r} is there twice", "Give each picture one entry.", file=file, field="images"
        )
    return CocoFile(tuple(dict.fromkeys(categories.values())), tuple(sorted(found, key=lambda image: image.name)))


def _entries(content: Any, name: str, keys: tuple[str, ...], file: Path) -> list[dict[str, Any]]:
    entries = content.get(name) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"there is no list {name!r}", "Pass a COCO instances file.", file=file)
    seen = set()
    for number, entry in enumerate(entries):
        missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if missing or not isinstance(entry["id"], (int, str)):
            raise DataError(
                f"{(missing or ['id'])[0]!r} is missing", "Repair it.", file=file, field=f"{name}[{number}]"
            )
        if entry["id"] in seen:
            raise DataError(
                f"id {entry['id']!r} is there twice", "Repair it.", file=file, field=f"{name}[{number}]"
            )
        seen.add(entry["id"])
    return entries


def _box(value: Any, file: Path, place: str) -> tuple[float, float, float, float]:
    """COCO's (x, y, width, height) as corners."""
    numbers = isinstance(value, list) and len(value) == 4
    if not numbers or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in value):
        raise DataError(f"{value!r} is not four numbers", "Repair it.", file=file, field=f"{place}.bbox")
    x, y, width, height = map(float, value)
    return (x, y, x + width, y + height)


def _problem(box: tuple[float, float, float, float], width: Any, height: Any) -> str | None:
    x0, y0, x1, y1 = box
    if x0 >= x1 or y0 >= y1:
        return "has no area"
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        return f"leaves the picture of {width} x {height} pixels"
    return None
