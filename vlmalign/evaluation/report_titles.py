"""The names under which the report shows metrics, arms and comparisons, and what it says of each."""

from __future__ import annotations

from vlmalign.evaluation.results import LOWER_IS_BETTER

#: metric -> (title, what it says)
METRIC_TITLES = {
    "whole_report_accuracy": (
        "Whole report right",
        "every in-scope claim and the impression right, nothing unsupported",
    ),
    "question_accuracy": ("Questions right", "asked one by one, the model being fed its own answers"),
    "balanced_accuracy": ("Balanced accuracy", "mean over concepts of the mean recall of their values"),
    "conversation_accuracy": ("Whole conversation right", "every answer of a conversation right"),
    "in_scope_accuracy": ("In-scope claims right", "concepts that the expert can verify; omitted is wrong"),
    "out_of_scope_accuracy": ("Out-of-scope claims right", "concepts that the expert cannot see"),
    "unsupported_known": (
        "Unsupported, known kind",
        "reports with a statement no image supports, of a listed kind",
    ),
    "unsupported_unknown": ("Unsupported, unknown kind", "of a kind that no filter of the pipeline knows"),
    "omissions": ("Omitted", "known concepts of which the report says nothing"),
    "path_consistency": ("Consistent path", "the answers can all be true together"),
    "invalid_rate": ("Invalid", "nothing could be read, or the answer was cut off"),
    "answer_tokens": ("Answer length", "tokens"),
    "unrecognised": ("Unread sentences", "per report: neither a claim nor a known statement"),
    "question_balanced_accuracy": ("Questions, balanced", "mean over concepts of the mean recall of their values"),
    "unparsed_answers": ("Unread answers", "share of the questions; counted as wrong"),
    "conversation_consistency": ("Consistent conversation", "its answers can all be true together"),
    "conversation_invalid_rate": ("Invalid conversation", "no answer could be read, or it was cut off"),
    "conversation_tokens": ("Conversation length", "tokens"),
}
LESS_IS_BETTER = LOWER_IS_BETTER | {"unrecognised", "unparsed_answers", "conversation_invalid_rate"}
ARM_NOTES = {
    "sft": "the common start",
    "sft_more": "more training on the noisy labels",
    "sft_clean": "labels without known unsupported statements",
    "sft_best_of_n": "imitates the answers that DPO gets as chosen",
    "sft_edited": "its own answer, corrected by the expert's findings",
    "dpo": "preference pairs from the expert's findings",
    "dpo_shuffled": "negative control: images permuted across pairs",
    "ppo_expert": "PPO against the expert's findings",
    "ppo_reward": "PPO against the trained reward model",
    "grpo_expert": "GRPO against the expert's findings",
    "grpo_reward": "GRPO against the trained reward model",
    "expert_only": "template filled from the expert's findings",
    "majority_class": "commonest label, whatever the image",
    "uniform_random": "values drawn uniformly",
    "text_only": "the model without the image",
}
COMPARISON_TITLES = {
    "dpo_minus_sft_more": ("The whole path", "dpo against sft_more", "whole-report accuracy"),
    "dpo_minus_sft_best_of_n": ("Preferences as such", "dpo against sft_best_of_n", "whole-report accuracy"),
    "dpo_minus_sft_edited": ("Preferences rather than editing", "dpo against sft_edited", "whole-report accuracy"),
    "dpo_shuffled_minus_sft_more": (
        "Control: the wrong images", "dpo_shuffled against sft_more", "whole-report accuracy"),
    "dpo_shuffled_minus_sft_more_in_scope": (
        "Control: the wrong images, claims", "dpo_shuffled against sft_more", "in-scope accuracy"),
    "dpo_minus_sft_more_out_of_scope": (
        "What the expert cannot see", "dpo against sft_more", "out-of-scope accuracy"),
}  # fmt: skip
#: name -> (title, unit)
REWARD_TITLES = {
    "role_swapped": ("Role-swapped pairs, image seen", "%"),
    "role_swapped_blanked": ("Role-swapped pairs, image blanked", "%"),
    "seen_minus_blanked": ("Seen minus blanked, paired", "points"),
}
EXPERT_TITLES = {
    "dice": ("Segmentation, Dice (0 to 1)", ""),
    "count_mae": ("Counting, mean absolute error", "per field"),
}


def titled(metric: str) -> tuple[str, str]:
    """The name under which a metric is shown, and what it says; of one that is not known here its own name.

    Example:
        >>> titled("answer_tokens"), titled("lung_opacity")
        (('Answer length', 'tokens'), ('lung opacity', ''))
    """
    return METRIC_TITLES.get(metric, (metric.replace("_", " "), ""))


def title_of(metric: str) -> str:
    """The name under which a metric is shown."""
    return titled(metric)[0]
