"""Rewards by name: ours, and those that installed packages offer."""

from __future__ import annotations

import inspect
from typing import Any

from vlmalign.records.errors import ended
from vlmalign.records.plugins import Plugins
from vlmalign.rewards.calibrated import CalibratedReward
from vlmalign.rewards.clip_goal import ClipGoalReward
from vlmalign.rewards.critique import CritiqueReward
from vlmalign.rewards.expert_verified import ExpertVerifiedReward
from vlmalign.rewards.follow_up import FollowUpReward
from vlmalign.rewards.implicit import ImplicitReward
from vlmalign.rewards.mixture import MixtureReward
from vlmalign.rewards.nuisance import NuisanceReward
from vlmalign.rewards.process import ProcessReward
from vlmalign.rewards.protocol import Reward
from vlmalign.rewards.report_agreement import ReportAgreementReward
from vlmalign.rewards.scalar import ScalarReward
from vlmalign.rewards.symbolic import SymbolicReward

GROUP = "vlmalign.rewards"
REWARDS = Plugins(
    "reward",
    GROUP,
    {
        "calibrated": CalibratedReward,
        "clip": ClipGoalReward,
        "critique": CritiqueReward,
        "expert_verified": ExpertVerifiedReward,
        "follow_up": FollowUpReward,
        "implicit": ImplicitReward,
        "nuisance": NuisanceReward,
        "mixture": MixtureReward,
        "process": ProcessReward,
        "report_agreement": ReportAgreementReward,
        "scalar": ScalarReward,
        "symbolic": SymbolicReward,
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
