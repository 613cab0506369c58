"""Rewards by name: ours, and those that installed packages offer."""

from __future__ import annotations

import inspect
from typing import Any

from vlmalign.records.errors import ended
from vlmalign.records.plugins import Plugins
from vlmalign.rewards.protocol import Reward

GROUP = "vlmalign.rewards"
REWARDS = Plugins(
    "reward",
    GROUP,
    {  # by their places: some wrap other rewards, and import this module to make them
        "calibrated": "vlmalign.rewards.calibrated:CalibratedReward",
        "clip": "vlmalign.rewards.clip_goal:ClipGoalReward",
        "critique": "vlmalign.rewards.critique:CritiqueReward",
        "expert_verified": "vlmalign.rewards.expert_verified:ExpertVerifiedReward",
        "follow_up": "vlmalign.rewards.follow_up:FollowUpReward",
        "implicit": "vlmalign.rewards.implicit:ImplicitReward",
        "nuisance": "vlmalign.rewards.nuisance:NuisanceReward",
        "mixture": "vlmalign.rewards.mixture:MixtureReward",
        "process": "vlmalign.rewards.process:ProcessReward",
        "report_agreement": "vlmalign.rewards.report_agreement:ReportAgreementReward",
        "scalar": "vlmalign.rewards.scalar:ScalarReward",
        "symbolic": "vlmalign.rewards.symbolic:SymbolicReward",
    },
    ours_first=True,
)


def list_rewards() -> list[str]:
    """Names that `load_reward` knows, sorted.

    Example:
        >>> {"expert_verified", "scalar", "symbolic"} <= set(list_rewards())
        True
    """
    return REWARDS.names()


def about_rewards() -> list[tuple[str, str, list[str]]]:
    """Every reward by name: the first sentence of what it says of itself, and its settings, `name` or
    `name=default`.

    Example:
        >>> dict((name, settings) for name, _, settings in about_rewards())["symbolic"][0]
        'logic'
    """
    found = []
    for name in list_rewards():
        maker = REWARDS.get(name).object
        about = (inspect.getdoc(maker) or "").split("\n\n")[0].replace("\n", " ")
        parameters = inspect.signature(maker).parameters.values()
        found.append(
            (name, about, [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters])
        )
    return found


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
    reward = make(f"reward {name!r}", maker, settings)
    if not isinstance(reward, Reward):
        raise ValueError(f"{origin} made a {type(reward).__name__}, which has no name, needs_images and score")
    return reward


def make(what: str, maker: Any, settings: dict[str, Any]) -> Any:
    """Call `maker` with settings.

    Raises:
        ValueError: a setting that it does not know or lacks, naming all that it has.
    """
    signature = inspect.signature(maker)
    try:
        signature.bind(**settings)
    except TypeError as error:
        known = ", ".join(signature.parameters)
        raise ValueError(f"{what}: {ended(str(error))} Its settings are: {known}.") from None
    return maker(**settings)
