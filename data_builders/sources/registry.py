"""Sources by name: the built-in ones, and those that installed packages add by an entry point.

A source is a function that writes a Case folder. A package adds one with

    [project.entry-points."vlmalign.sources"]
    my_microscope = "my_package.microscope:build_cases"
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from data_builders.sources.bccd import build_bccd
from data_builders.sources.boxed import build_coco, build_voc
from data_builders.sources.chexpert import build_chexpert
from data_builders.sources.cxr import build_cxr
from data_builders.sources.dicom import build_dicom
from data_builders.sources.fundus import build_fundus
from data_builders.sources.kermany import build_kermany
from data_builders.sources.marrow import build_marrow
from data_builders.sources.medmnist import build_medmnist
from data_builders.sources.mimic_cxr import build_mimic_cxr
from data_builders.sources.nifti import build_nifti
from data_builders.sources.nih_cxr14 import build_nih_cxr14
from data_builders.sources.oct import build_oct
from data_builders.sources.openi import build_openi
from data_builders.sources.retina_masks import build_retina_masks
from data_builders.sources.smear import build_smear
from data_builders.sources.table import build_table
from vlmalign.records.plugins import Plugins

ENTRY_POINTS = "vlmalign.sources"


class Source(Protocol):
    """A function that writes a folder of cases and returns it.

    It takes keywords only from `vlmalign source build`: `out`, `overwrite`, `data` if the source reads files,
    and whatever `--set` gives. The first line of its docstring is its description.
    """

    def __call__(self, *, out: Path, overwrite: bool = False) -> Path:
        """Write the folder `out`; a killed build continues, as `DatasetBuild` does."""


BUILT_IN = {
    "bccd": build_bccd,
    "chexpert": build_chexpert,
    "coco": build_coco,
    "cxr": build_cxr,
    "dicom": build_dicom,
    "fundus": build_fundus,
    "kermany": build_kermany,
    "marrow": build_marrow,
    "medmnist": build_medmnist,
    "mimic_cxr": build_mimic_cxr,
    "nih_cxr14": build_nih_cxr14,
    "nifti": build_nifti,
    "oct": build_oct,
    "openi": build_openi,
    "retina_masks": build_retina_masks,
    "smear": build_smear,
    "table": build_table,
    "voc": build_voc,
}
SOURCES = Plugins("source", ENTRY_POINTS, BUILT_IN)


def list_sources() -> list[str]:
    """Names of all sources, sorted.

    Example:
        >>> {"bccd", "cxr", "fundus", "smear"} <= set(list_sources())
        True
    """
    return SOURCES.names()


def origin_of(name: str) -> str:
    """Where a source is from: `built in`, or the place that its entry point names.

    Example:
        >>> origin_of("smear")
        'built in'
    """
    return SOURCES.get(name).origin


def get_source(name: str) -> Source:
    """The source of that name.

    Args:
        name: one of `list_sources()`.

    Raises:
        ValueError: no such source; two packages, or a package and the built-in ones, use one name; an entry
            point that cannot be loaded or is not a function.

    Example:
        >>> get_source("smear").__name__
        'build_smear'
        >>> get_source("smeer")
        Traceback (most recent call last):
        ...
        ValueError: unknown source 'smeer'. Did you mean 'smear'?
    """
    source, origin = SOURCES.get(name)
    if not callable(source):
        raise ValueError(
            f"source {name!r} ({origin}) is a {type(source).__name__}: a function that writes a Case "
            "folder is required. Point the entry point to it."
        )
    return source  # type: ignore[no-any-return]
