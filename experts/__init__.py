"""Experts look at images and write findings."""

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
