"""Rewards: one protocol, and what scores answers by it."""

from vlmalign.rewards.best_of_n import BestOfN, best_of_n
from vlmalign.rewards.calibrated import CalibratedReward
from vlmalign.rewards.claims import ClaimWeights, claim_score
from vlmalign.rewards.clip_goal import ClipGoalReward
from vlmalign.rewards.confidence import stated_confidence
from vlmalign.rewards.expert_verified import ExpertVerifiedReward
from vlmalign.rewards.follow_up import FollowUpReward
from vlmalign.rewards.implicit import ImplicitReward
from vlmalign.rewards.mixture import MixtureReward
from vlmalign.rewards.pair_scoring import score_pairs
from vlmalign.rewards.process import ProcessReward
from vlmalign.rewards.protocol import Reward, RewardOutput
from vlmalign.rewards.registry import list_rewards, load_reward
from vlmalign.rewards.scalar import ScalarReward
from vlmalign.rewards.scoring import score_candidates, score_whole
from vlmalign.rewards.step_judgements import score_steps
from vlmalign.rewards.symbolic import SymbolicReward

__all__ = [
    "BestOfN",
    "CalibratedReward",
    "ClaimWeights",
    "ClipGoalReward",
    "ExpertVerifiedReward",
    "FollowUpReward",
    "ImplicitReward",
    "MixtureReward",
    "ProcessReward",
    "Reward",
    "RewardOutput",
    "ScalarReward",
    "SymbolicReward",
    "best_of_n",
    "claim_score",
    "list_rewards",
    "load_reward",
    "score_candidates",
    "score_pairs",
    "score_steps",
    "score_whole",
    "stated_confidence",
]
