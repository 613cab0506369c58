"""Experts look at images and write findings.

A public name's module is imported at the name's first use: to read a card or to list experts loads no network
library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experts.adoption import adopt
    from experts.config import ExpertConfig
    from experts.performance import assess
    from experts.protocol import (
        Examination,
        Expert,
        ExpertCard,
        ImageContext,
        Measured,
        Metric,
        OperatingPoint,
        Presence,
    )
    from experts.registry import ExpertListing, list_experts, load_expert, read_card
    from experts.running import run_expert
    from experts.segmentation import NetworkSettings
    from experts.targets import ellipse_labels
    from experts.thresholds import choose_threshold
    from experts.training import train_expert

_HOMES = {
    "adopt": "adoption",
    "ExpertConfig": "config",
    "assess": "performance",
    "Examination": "protocol",
    "Expert": "protocol",
    "ExpertCard": "protocol",
    "ImageContext": "protocol",
    "Measured": "protocol",
    "Metric": "protocol",
    "OperatingPoint": "protocol",
    "Presence": "protocol",
    "ExpertListing": "registry",
    "list_experts": "registry",
    "load_expert": "registry",
    "read_card": "registry",
    "run_expert": "running",
    "NetworkSettings": "segmentation",
    "ellipse_labels": "targets",
    "choose_threshold": "thresholds",
    "train_expert": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "Examination",
    "Expert",
    "ExpertCard",
    "ExpertConfig",
    "ExpertListing",
    "ImageContext",
    "Measured",
    "Metric",
    "NetworkSettings",
    "OperatingPoint",
    "Presence",
    "adopt",
    "assess",
    "choose_threshold",
    "ellipse_labels",
    "list_experts",
    "load_expert",
    "read_card",
    "run_expert",
    "train_expert",
]
