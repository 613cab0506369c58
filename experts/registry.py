"""Which experts there are: architectures that can be loaded, and trained experts in folders.

A user's package adds an architecture by an entry point in the group `vlmalign.experts` whose name is the
architecture's and whose object is a function `load(folder: Path) -> Expert`.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import NamedTuple

from experts.protocol import Expert, ExpertCard, ExpertLoader
from vlmalign.records import DataError
from vlmalign.records.plugins import Plugins

GROUP = "vlmalign.experts"


def _loader(module: str, function: str) -> ExpertLoader:
    """A loader whose module, and with it a whole library, is imported when it is called."""

    def load(folder: Path) -> Expert:
        loader: ExpertLoader = getattr(importlib.import_module(module), function)
        return loader(folder)

    return load


ARCHITECTURES = Plugins(
    "architecture",
    GROUP,
    {
        "segmentation": _loader("experts.segmentation", "load_segmentation"),
        "classification": _loader("experts.classification", "load_classification"),
        "zero_shot": _loader("experts.zero_shot", "load_zero_shot"),
        "monai_network": _loader("experts.monai_networks", "load_named"),
        "monai_bundle": _loader("experts.monai_bundles", "load_bundle"),
        "xrayvision": _loader("experts.xrayvision", "load_xrayvision"),
        "http": _loader("experts.http_server", "load_http"),
        "ensemble": _loader("experts.ensemble", "load_ensemble"),
        "views": _loader("experts.ensemble", "load_views"),
    },
    ours_first=True,
)


ABOUT = {
    "segmentation": "counts and areas of structures, by networks trained here (experts train)",
    "classification": "findings present or absent, by timm or MONAI networks (experts train)",
    "zero_shot": "open_clip with prompts for presence and absence",
    "monai_network": "a network of MONAI with trained weights",
    "monai_bundle": "a MONAI bundle, of a folder or the zoo",
    "xrayvision": "TorchXRayVision's chest networks (extra xrayvision)",
    "http": "a model server that is asked over HTTP",
    "ensemble": "several experts that say the same concepts",
    "views": "one expert that looks at several views of each image",
}


class ExpertListing(NamedTuple):
    """One row of the list of experts.

    Attributes:
        name: an architecture's name, or a trained expert's `name@version`.
        origin: `built in`, `entry point of <distribution>`, or `trained`.
        folder: where a trained expert is.
        card: a trained expert's card.
        problem: why it cannot be used; empty if it can.
        about: what a built-in architecture is.
    """

    name: str
    origin: str
    folder: Path | None = None
    card: ExpertCard | None = None
    problem: str = ""
    about: str = ""


def list_experts(folder: str | Path | None = None) -> list[ExpertListing]:
    """Architectures that can be loaded or, with `folder`, the trained experts in it and below it.

    Raises:
        DataError: no such folder, or an `expert.json` in it is not readable.

    Example:
        >>> "segmentation" in [listing.name for listing in list_experts() if listing.origin == "built in"]
        True
    """
    if folder is None:
        found = [ExpertListing(name, "built in", about=ABOUT[name]) for name in sorted(ARCHITECTURES.ours)]
        for point in ARCHITECTURES.offered():
            origin = point.dist.name if point.dist else "unknown"
            listing = ExpertListing(point.name, f"entry point of {origin}", problem=_problem(point.name))
            found.append(listing)
        return found
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("no such folder", "Check the path.", file=folder)
    listings = []
    for file in sorted(folder.rglob("expert.json")):
        card = read_card(file.parent)
        listings.append(ExpertListing(card.id, "trained", file.parent, card))
    return listings


def _problem(name: str) -> str:
    """Why an entry point's architecture cannot be used; empty if it can."""
    if name in ARCHITECTURES.ours:
        return f"the name {name!r} is built in and the entry point is passed over: rename it"
    try:
        ARCHITECTURES.get(name)
    except ValueError as error:
        return str(error)
    return ""


def read_card(folder: str | Path) -> ExpertCard:
    """The card of a trained expert, without loading its weights.

    Raises:
        DataError: the folder holds no readable `expert.json`.
    """
    file = Path(folder) / "expert.json"
    try:
        return ExpertCard.model_validate_json(json.dumps(json.loads(file.read_bytes())["card"]))
    except FileNotFoundError:
        raise DataError(
            "not a trained expert: expert.json is missing",
            "Give the folder that `vlmalign experts train` wrote; run that again if it was stopped.",
            file=folder,
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"expert.json is not readable ({error})", "Train the expert again with --overwrite.", file=file
        ) from None


def load_expert(folder: str | Path) -> Expert:
    """Load a trained expert of any known architecture.

    Raises:
        DataError: the folder is incomplete or damaged, or nothing here loads its architecture.
        ValueError: two packages offer its architecture, or the one that does cannot be loaded.
    """
    folder = Path(folder)
    architecture = read_card(folder).architecture
    if architecture not in ARCHITECTURES.names():
        raise DataError(
            f"architecture {architecture!r} is not installed (known: {', '.join(ARCHITECTURES.names())})",
            f"Install the package that provides it through an entry point in the group {GROUP!r}.",
            file=folder / "expert.json",
            field="card.architecture",
        )
    loader: ExpertLoader = ARCHITECTURES.get(architecture).object
    return loader(folder)
