"""A bootstrap of groups for the members of an ensemble: each sees every patient some times, or never."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vlmalign.records.hashing import derive_seed


class GroupResampling:
    """How often each member sees a group: Poisson(1) draws, the bootstrap that needs not know the number of
    groups.

    Oza and Russell 2001 (Online bagging and boosting, AISTATS). All pairs of a patient are drawn together, as they
    are not independent. A draw depends on seed, member and group alone, so that a resumed run goes on with the
    same.

    Args:
        members: K.
        seed: of the draws.

    Example:
        >>> counts = GroupResampling(3, seed=0).counts(["a", "b", "a"])
        >>> counts.shape, bool((counts[0] == counts[2]).all())
        (torch.Size([3, 3]), True)
    """

    def __init__(self, members: int, seed: int) -> None:
        self._members, self._seed = members, seed
        self._known: dict[str, Tensor] = {}

    def counts(self, groups: Sequence[str]) -> Tensor:
        """Of B groups for each of K members, (B, K) float32."""
        return torch.stack([self._of(group) for group in groups])

    def _of(self, group: str) -> Tensor:
        if group not in self._known:
            rng = np.random.default_rng(derive_seed(self._seed, "resample", group))
            self._known[group] = torch.from_numpy(rng.poisson(1.0, self._members)).float()
        return self._known[group]
