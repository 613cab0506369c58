"""Linear mixed models with crossed random effects of readers and cases, by statsmodels: a second opinion.

The two-way variance of `vlmalign.evaluation.readers_and_cases` is the analysis; a mixed model says whether another
way to the same components says the same, and adjusts for a covariate. Its Wald interval knows no degrees of
freedom and is too short for few readers: in 150 simulated studies of 3 readers and 30 cases it covered 89 %, the
two-way interval 97 % (6 readers and 40 cases: 94 % and 96 %).

Preferences are modelled as numbers too (1, 0.5, 0). Of the logistic mixed model that statsmodels has
(`BinomialBayesMixedGLM`) neither fit serves here: in a simulated study of 8 readers and 100 cases the joint mode
let the case variance fall to zero without converging, and the variational standard deviation of the intercept was
0.08 where readers alone, of standard deviation 0.5, leave 0.18. Of the optimisers of `MixedLM` those by gradients
stop short of the maximum where a variance is small; the simplex finds it, and agrees with the analysis of
variance.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from vlmalign.evaluation.intervals import Array

EXTRA = "pip install 'vlmalign[readers]'"
OPTIMISERS = ("nm", "powell", "lbfgs")
AT_ZERO = 1e-3  # of the residual variance: a component below is at the boundary


@dataclass(frozen=True)
class Effect:
    """A fixed effect with its Wald interval."""

    estimate: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class MixedFit:
    """A fitted model, or why there is none.

    Attributes:
        model: in words.
        effects: fixed effects by name; empty where there is no fit.
        components: variances by name, with `rest`; one that was left out at the boundary is 0.
        converged: whether the last fit converged; None where there is none.
        n: values.
        notes: what happened: components left out, warnings of the optimiser.
        reason: why there is no fit.
    """

    model: str
    effects: dict[str, Effect]
    components: dict[str, float]
    converged: bool | None
    n: int
    notes: tuple[str, ...] = ()
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return asdict(self)


class Fitted(NamedTuple):
    """What a fit gives: (estimate, standard error) of each fixed effect, and variances."""

    effects: list[tuple[float, float]]
    components: dict[str, float]
    rest: float
    converged: bool


def fit_mixed(
    values: Sequence[float | None],
    fixed: Mapping[str, Sequence[float]],
    random: Mapping[str, Sequence[Hashable]],
) -> MixedFit:
    """Fit values = fixed effects + crossed random intercepts + rest by REML.

    A component that ends at zero makes the optimiser fail; it is left out, the model fitted again, and both told.
    A factor with one level, or with a level of its own for each value, has no component and is left out likewise.

    Args:
        values: (n,) None: left out.
        fixed: name -> (n,) column; an intercept among them.
        random: name -> (n,) level of each value, e.g. of reader and of case.

    Example:
        >>> levels = {"reader": list("aaabbb"), "case": [1, 2, 3] * 2}
        >>> fit_mixed([1, 1, 1, 1, 1, 1], {"mean": [1.0] * 6}, levels).reason
        'all values are the same'
    """
    known = [i for i, value in enumerate(values) if value is not None]
    y = np.array([values[i] for i in known], dtype=np.float64)
    x = np.column_stack([[float(column[i]) for i in known] for column in fixed.values()])
    model = f"{' + '.join(fixed)} + {' + '.join(f'(1 | {name})' for name in random)}, REML"
    notes = []
    factors: dict[str, Array] = {}
    for name, levels in random.items():
        numbers = _numbers([levels[i] for i in known])
        n_levels = len(set(numbers))
        if n_levels < 2 or n_levels == len(known):
            notes.append(f"{name}: {n_levels} level(s) for {len(known)} values, no component")
        else:
            factors[name] = np.eye(n_levels)[numbers]
    if reason := _no_fit(y, x, factors):
        return MixedFit(model, {}, {}, None, len(known), tuple(notes), reason)
    try:
        fitted = _fit(y, x, factors, notes)
    except ModuleNotFoundError:
        reason = f"statsmodels is not installed: {EXTRA}"
        return MixedFit(model, {}, {}, None, len(known), tuple(notes), reason)
    except (np.linalg.LinAlgError, ValueError, ZeroDivisionError) as failure:
        return MixedFit(
            model, {}, {}, False, len(known), tuple(notes), f"the fit failed ({type(failure).__name__}: {failure})"
        )
    z = float(stats.norm.ppf(0.975))
    effects = {}
    for name, (estimate, error) in zip(fixed, fitted.effects, strict=True):
        if not np.isfinite(error):
            return MixedFit(model, {}, {}, False, len(known), tuple(notes), "the fit has no standard error")
        effects[name] = Effect(estimate, error, estimate - z * error, estimate + z * error)
    components = {**dict.fromkeys(random, 0.0), **fitted.components, "rest": fitted.rest}
    return MixedFit(model, effects, components, fitted.converged, len(known), tuple(notes))


def _no_fit(y: Array, x: Array, factors: Mapping[str, Array]) -> str | None:
    if len(y) < 3:
        return f"{len(y)} values"
    if (y == y[0]).all():
        return "all values are the same"
    if np.linalg.matrix_rank(x) < x.shape[1]:
        return "a fixed effect does not vary, or is the sum of others"
    if not factors:
        return "no factor has several levels with several values each"
    return None


def _fit(y: Array, x: Array, factors: dict[str, Array], notes: list[str]) -> Fitted:
    """Fit; while a component is at zero, leave it out and fit again; without any it is least squares."""
    from statsmodels.regression.linear_model import OLS
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    while True:
        names = list(factors)
        columns = [[[str(k) for k in range(factors[name].shape[1])]] for name in names]
        spec = VCSpec(names, columns, [[factors[name]] for name in names])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted = _maximised(MixedLM(y, x, groups=np.zeros(len(y)), exog_vc=spec))
            fitted.bse_fe  # noqa: B018  - computed when asked for, with warnings of its own
        smallest = int(np.argmin(fitted.vcomp))
        if fitted.vcomp[smallest] < AT_ZERO * fitted.scale:
            del factors[names[smallest]]
            again = "fitted again" if factors else "least squares"
            notes.append(f"variance of {names[smallest]} at zero: left out, {again}")
            if factors:
                continue
            plain = OLS(y, x).fit()
            effects = list(zip(plain.params.tolist(), plain.bse.tolist(), strict=True))
            return Fitted(effects, {}, float(plain.scale), True)
        told = [str(w.message).split("\n")[0] for w in caught]
        notes += [f"statsmodels: {text}" for text in dict.fromkeys(told)]
        effects = list(zip(fitted.fe_params.tolist(), fitted.bse_fe.tolist(), strict=True))
        components = {name: float(v) for name, v in zip(names, fitted.vcomp, strict=True)}
        return Fitted(effects, components, float(fitted.scale), bool(fitted.converged))


def _maximised(model: Any) -> Any:
    """The first fit that converges, or the last that there is; an optimiser may step on a singular matrix."""
    fitted, failure = None, None
    for method in OPTIMISERS:
        try:
            fitted = model.fit(reml=True, method=[method])
        except np.linalg.LinAlgError as error:
            failure = error
            continue
        if fitted.converged:
            return fitted
    if fitted is None:
        assert failure is not None
        raise failure
    return fitted


def _numbers(levels: Sequence[Hashable]) -> list[int]:
    known: dict[Hashable, int] = {}
    return [known.setdefault(level, len(known)) for level in levels]
