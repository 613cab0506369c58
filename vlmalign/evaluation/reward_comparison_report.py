"""The page that compares rewards trained on the same pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.kl_plot import kl_grid_plot
from vlmalign.evaluation.page_parts import Figure
from vlmalign.evaluation.page_template import write_page
from vlmalign.evaluation.plots import forest_plot
from vlmalign.evaluation.report_view import Row, Table, cell_of, flat_rows, methods_of
from vlmalign.evaluation.reward_report import Mistake

#: figure -> column head, note, whether it is a share, whether a difference
PICTURE = {
    "role_swapped": ("with the picture", "", True, False),
    "role_swapped_blanked": ("picture blanked", "text alone: one half", True, False),
    "seen_minus_blanked": ("difference", "points", True, True),
}
ANSWERS = {
    "pair_accuracy": ("right", "a tie counts one half", True, False),
    "ece": ("ECE", "of sigmoid(margin)", False, False),
    "ece_calibrated": ("ECE, calibrated", "temperature, other groups", False, False),
    "brier": ("Brier", "a coin: 0.25", False, False),
}
ERRORS = {
    "auroc_margin": ("small |margin|", "AUROC for own errors, x 100", True, False),
    "auroc_std": ("large std", "alone", True, False),
    "auroc_margin_and_std": ("both", "fitted on other groups", True, False),
    "auroc_gain": ("both − |margin|", "paired", True, True),
}


def comparison_table(
    rewards: Mapping[str, Mapping[str, Any]], columns: Mapping[str, tuple[str, str, bool, bool]], suffix: str = ""
) -> Table:
    """Rewards down, figures across; a figure that a reward does not have is a dash."""
    rows, shown = [], []
    for name, reward in rewards.items():
        scores = [reward.get(key + suffix) for key in columns]
        cells = [
            cell_of(score, share=share, signed=signed)
            for score, (_, _, share, signed) in zip(scores, columns.values(), strict=True)
        ]
        rows.append(Row(name.replace("_", " "), "", cells))
        shown += [score for score in scores if score is not None]
    return Table([(title, note) for title, note, _, _ in columns.values()], rows, methods_of(shown))


def render_comparison(
    results: Mapping[str, Any], figures: Sequence[Figure], mistakes: Sequence[Mistake], out: str | Path
) -> Path:
    """Write the page. All text is escaped; it forbids scripts and every outside address.

    Args:
        results: `rewards`, `config`, `versions`, `seconds`, perhaps `ppo`; as results.json holds them.
        figures: further figures, e.g. reliability.
        mistakes: pairs that rewards have the wrong way round.
        out: the file to write; replaced in one step.
    """
    rewards = results["rewards"]
    return write_page(
        out,
        "comparison.html.j2",
        source=results["source"],
        seed=results["seed"],
        minutes=sum(results["seconds"].values()) / 60,
        picture=comparison_table(rewards, PICTURE),
        forest=_forest(rewards),
        held_out=comparison_table(rewards, ANSWERS),
        tuned=comparison_table(rewards, ANSWERS, "_tuned"),
        errors=comparison_table(rewards, ERRORS),
        errors_tuned=comparison_table(rewards, ERRORS, "_tuned"),
        kl=_over_kl(results.get("ppo")),
        gate=results.get("critique_gate"),
        figures=figures,
        mistakes=mistakes,
        settings=flat_rows({"config": results["config"], "versions": results["versions"]}),
    )


def _forest(rewards: Mapping[str, Mapping[str, Any]]) -> Figure:
    seen = {name: Estimate.from_dict(reward["role_swapped"]) for name, reward in rewards.items()}
    blanked = {
        f"{name}, blanked": Estimate.from_dict(reward["role_swapped_blanked"])
        for name, reward in rewards.items()
        if "role_swapped_blanked" in reward
    }
    n = max(estimate.n for estimate in seen.values())
    caption = (
        f"Two pictures, the same two texts, the preference reversed; n = {n} items, 95% intervals over groups."
    )
    return Figure.drawn("What the picture is worth", caption, forest_plot, seen, label="items right",
                        references=blanked)  # fmt: skip


def _over_kl(ppo: Mapping[str, Any] | None) -> Figure | None:
    if ppo is None:
        return None
    arms = {arm: ppo[arm] for arm in ("plain", "pessimistic")}
    caption = (
        f"Online training against the ensemble, {len(ppo['seeds'])} seeds; validation slides whose truth is "
        "known. Bands: "
        "95% t intervals over seeds. Gold is clinical logic over the truth, which training never reads."
    )
    return Figure.drawn("Proxy and gold over KL", caption, kl_grid_plot, arms)
