"""Experts look at images and write findings."""

from experts.config import ExpertConfig
from experts.performance import assess
from experts.protocol import Examination, Expert, ExpertCard, Measured, Metric
from experts.registry import ExpertListing, list_experts, load_expert, read_card
from experts.running import run_expert
from experts.segmentation import NetworkSettings
from experts.targets import ellipse_labels
from experts.training import train_expert

__all__ = [
    "Examination",
    "Expert",
    "ExpertCard",
    "ExpertConfig",
    "ExpertListing",
    "Measured",
    "Metric",
    "NetworkSettings",
    "assess",
    "ellipse_labels",
    "list_experts",
    "load_expert",
    "read_card",
    "run_expert",
    "train_expert",
]
