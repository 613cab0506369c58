"""Sources of cases: pictures (drawn or real) with what is known of them, written as Case folders."""

from data_builders.sources.bccd import build_bccd
from data_builders.sources.cxr import build_cxr
from data_builders.sources.fundus import build_fundus
from data_builders.sources.marrow import build_marrow
from data_builders.sources.oct import build_oct
from data_builders.sources.registry import Source, get_source, list_sources, origin_of
from data_builders.sources.smear import build_smear

__all__ = [
    "Source",
    "build_bccd",
    "build_cxr",
    "build_fundus",
    "build_marrow",
    "build_oct",
    "build_smear",
    "get_source",
    "list_sources",
    "origin_of",
]
