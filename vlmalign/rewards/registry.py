"""Rewards by name: ours, and those that installed packages offer."""

from __future__ import annotations

import difflib
import inspect
from importlib.metadata import entry_points
from typing import Any

from vlmalign.rewards.expert_verified import ExpertVerifiedReward
from vlmalign.rewards.protocol import Reward
from vlmalign.rewards.scalar import ScalarReward
from vlmalign.rewards.symbolic import SymbolicReward

GROUP = "vlmalign.rewards"
_OURS: dict[str, Any] = {
    "expert_verified": ExpertVerifiedReward,
    "scalar": ScalarReward,
    "symbolic": SymbolicReward,
}


def list_rewards() -> list[str]:
    """Names that `load_reward` knows, sorted.

    Example:
        >>> list_rewards()[:3]
        ['expert_verified', 'scalar', 'symbolic']
    """
    return sorted({*_OURS, *(point.name for point in entry_points(group=GROUP))})


def load_reward(name: str, **settings: Any) -> Reward:
    """Make a reward.

    A package offers its own with an entry point of the group `vlmalign.rewards`, whose object is called with
    the settings and returns a `Reward`. Our names cannot be taken over.

    Args:
        name: one of `list_rewards()`.
        settings: arguments of the reward.

    Raises:
        ValueError: no such reward, two packages that offer the name, or an object that is no `Reward`.
    """
    if name in _OURS:
        return _make(name, _OURS[name], settings)
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        near = difflib.get_close_matches(name, list_rewards(), n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(list_rewards())}."
        raise ValueError(f"unknown reward {name!r}. {hint}")
    if len(found) > 1:
        raise ValueError(f"{len(found)} installed packages offer a reward {name!r}: uninstall all but one")
    try:
        maker = found[0].load()
    except Exception as error:
        raise ValueError(
            f"reward {name!r} cannot be loaded from {found[0].value} ({type(error).__name__}: {error}). "
            "Repair or uninstall its package."
        ) from error
    reward = _make(name, maker, settings)
    if not isinstance(reward, Reward):
        raise ValueError(
            f"{found[0].value} made a {type(reward).__name__}, which has no name, needs_images and score"
        )
    return reward


def _make(name: str, maker: Any, settings: dict[str, Any]) -> Any:
    signature = inspect.signature(maker)
    try:
        signature.bind(**settings)
    except TypeError as error:
        known = ", ".join(signature.parameters)
        raise ValueError(f"reward {name!r}: {error}. Its settings are: {known}.") from None
    return maker(**settings)
