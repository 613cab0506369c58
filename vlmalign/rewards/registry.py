"""Rewards by name: ours, and those that installed packages offer."""

from __future__ import annotations

import inspect
from typing import Any

from vlmalign.records.plugins import Plugins
from vlmalign.rewards.calibrated import CalibratedReward
from vlmalign.rewards.expert_verified import ExpertVerifiedReward
from vlmalign.rewards.protocol import Reward
from vlmalign.rewards.scalar import ScalarReward
from vlmalign.rewards.symbolic import SymbolicReward

GROUP = "vlmalign.rewards"
REWARDS = Plugins(
    "reward",
    GROUP,
    {
        "calibrated": CalibratedReward,
        "expert_verified": ExpertVerifiedReward,
        "scalar": ScalarReward,
        "symbolic": SymbolicReward,
    },
    ours_first=True,
)


def list_rewards() -> list[str]:
    """Names that `load_reward` knows, sorted.

    Example:
        >>> [name for name in list_rewards() if name in ("scalar", "symbolic")]
        ['scalar', 'symbolic']
    """
    return REWARDS.names()


def load_reward(name: str, **settings: Any) -> Reward:
    """Make a reward.

    A package offers its own with an entry point of the group `vlmalign.rewards`, whose object is called with
    the settings and returns a `Reward`. Our names cannot be taken over.

    Args:
        name: one of `list_rewards()`.
        settings: arguments of the reward.

    Raises:
        ValueError: no such reward, two packages that offer the name, one that cannot be loaded, or an object that
            is no `Reward`.
    """
    maker, origin = REWARDS.get(name)
    reward = _make(name, maker, settings)
    if not isinstance(reward, Reward):
        raise ValueError(f"{origin} made a {type(reward).__name__}, which has no name, needs_images and score")
    return reward


def _make(name: str, maker: Any, settings: dict[str, Any]) -> Any:
    signature = inspect.signature(maker)
    try:
        signature.bind(**settings)
    except TypeError as error:
        known = ", ".join(signature.parameters)
        raise ValueError(f"reward {name!r}: {error}. Its settings are: {known}.") from None
    return maker(**settings)
