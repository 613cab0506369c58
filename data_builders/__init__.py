"""Builders turn images, findings, clinical logic and judges into training records."""

from data_builders.best_of_n import build_best_of_n
from data_builders.captions import build_captions
from data_builders.critiques import build_critiques
from data_builders.demonstrations import build_demonstrations
from data_builders.edits import build_edit_pairs, build_edits
from data_builders.expert_pairs import build_expert_pairs
from data_builders.known_findings import build_known_findings
from data_builders.pairing import PairingConfig
from data_builders.prompts import build_prompts
from data_builders.report_noise import HIDDEN_STATEMENTS, write_noisy_reports
from data_builders.role_swapped import build_role_swapped
from data_builders.scoring import Score, ScoreWeights, score_reading
from data_builders.shuffled import build_shuffled
from data_builders.statement_filter import filter_unsupported
from data_builders.symbolic_pairs import build_symbolic_pairs
from data_builders.templates import build_templates
from data_builders.ungrounded import build_ungrounded

__all__ = [
    "HIDDEN_STATEMENTS",
    "PairingConfig",
    "Score",
    "ScoreWeights",
    "build_best_of_n",
    "build_captions",
    "build_critiques",
    "build_demonstrations",
    "build_edit_pairs",
    "build_edits",
    "build_expert_pairs",
    "build_known_findings",
    "build_prompts",
    "build_role_swapped",
    "build_shuffled",
    "build_symbolic_pairs",
    "build_templates",
    "build_ungrounded",
    "filter_unsupported",
    "score_reading",
    "write_noisy_reports",
]
