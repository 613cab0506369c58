"""Simulated reader studies: how often intervals for win rates hold what they promise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from vlmalign.evaluation.intervals import Array
from vlmalign.evaluation.readers_and_cases import reader_figure


@dataclass(frozen=True)
class ReaderWorld:
    """Where simulated readers and cases come from.

    Reader i prefers the model on case j if effect + reader_i + case_j + noise_ij > 0, all normal, the noise of
    variance 1. `ties` of the answers, at random, are ties.

    Attributes:
        effect: of the model, on the latent scale.
        reader_sd: how far readers differ in their liking of the model.
        case_sd: how far cases do.
        ties: share of ties.
    """

    effect: float = 0.35
    reader_sd: float = 0.5
    case_sd: float = 0.8
    ties: float = 0.0

    @property
    def win_rate(self) -> float:
        """Mean over all readers and cases, a tie as one half.

        Example:
            >>> round(ReaderWorld(effect=0.0).win_rate, 3), round(ReaderWorld(1.0, 0.0, 0.0).win_rate, 3)
            (0.5, 0.841)
        """
        wins = float(stats.norm.cdf(self.effect / (1 + self.reader_sd**2 + self.case_sd**2) ** 0.5))
        return self.ties / 2 + (1 - self.ties) * wins

    def of_these(self, readers: Array) -> float:
        """Mean over all cases of these readers (I,)."""
        wins = float(stats.norm.cdf((self.effect + readers) / (1 + self.case_sd**2) ** 0.5).mean())
        return self.ties / 2 + (1 - self.ties) * wins

    def draw(self, n_readers: int, n_cases: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """One study: wins (I, J) of 1, 0.5 and 0, and the readers' own effects (I,)."""
        readers = rng.normal(0, self.reader_sd, n_readers)
        cases = rng.normal(0, self.case_sd, n_cases)
        latent = self.effect + readers[:, None] + cases[None] + rng.normal(0, 1, (n_readers, n_cases))
        wins = (latent > 0).astype(np.float64)
        wins[rng.random(wins.shape) < self.ties] = 0.5
        return wins, readers


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth.

    Attributes:
        new_readers: share of studies whose two-way interval holds the win rate of all readers.
        these_readers: share whose case-only interval holds the win rate of the study's readers.
        case_only: share whose case-only interval holds the win rate of all readers, which it does not promise.
        width: mean width of the interval for new readers.
        studies: how many; one standard error of a share near 0.95 is sqrt(0.95 * 0.05 / studies).
    """

    new_readers: float
    these_readers: float
    case_only: float
    width: float
    studies: int


def simulate_coverage(
    n_readers: int, n_cases: int, *, studies: int = 200, world: ReaderWorld | None = None, seed: int = 0
) -> Coverage:
    """Simulate studies in which every reader rates every case, and count how often the intervals are right.

    Args:
        n_readers: I.
        n_cases: J.
        studies: how many.
        world: where readers and cases come from.
        seed: of the draws.

    Example:
        >>> simulate_coverage(4, 20, studies=5).studies
        5
    """
    world = world or ReaderWorld()
    who = np.repeat(np.arange(n_readers), n_cases).tolist()
    what = np.tile(np.arange(n_cases), n_readers).tolist()
    held = np.zeros((studies, 3), dtype=bool)
    widths = np.zeros(studies)
    for k, child in enumerate(np.random.SeedSequence(seed).spawn(studies)):
        wins, readers = world.draw(n_readers, n_cases, np.random.default_rng(child))
        found = reader_figure(wins.ravel().tolist(), who, what, seed=k)
        new, these = found.new_readers, found.these_readers
        assert new.low is not None and new.high is not None and these.low is not None and these.high is not None
        held[k] = (
            new.low <= world.win_rate <= new.high,
            these.low <= world.of_these(readers) <= these.high,
            these.low <= world.win_rate <= these.high,
        )
        widths[k] = new.high - new.low
    new_share, these_share, case_only = (float(share) for share in held.mean(0))
    return Coverage(new_share, these_share, case_only, float(widths.mean()), studies)
