"""What the mappings of stage commands hold, reached by --set KEY.NAME=VALUE: the list of `--settings`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module

#: mapping of a stage's signature -> where its settings are declared; --help imports none of them
DECLARED = {
    "corruption": "data_builders.corruption_pairs:CorruptionConfig",
    "pairing": "data_builders.pairing:PairingConfig",
    "rewriting": "data_builders.rewriting:Rewriting",
    "steps": "data_builders.broken_steps:BrokenStepConfig",
    "weights": "data_builders.scoring:ScoreWeights",
    "writer": "data_builders.writer:WriterConfig",
    "writing": "data_builders.question_writing:QuestionWriting",
}
#: mappings whose names are given elsewhere: their default and what they hold
DESCRIBED = {
    "hidden": ("handling 0.2", "hidden kind -> probability that a report states it: handling"),
    "orders": (
        "all three",
        "order of questions -> its share of the conversations: canonical, impression_first, shuffled",
    ),
    "unsupported": (
        "comparison 0.35, history 0.25",
        "kind of statement that no image supports, of those that the logic lists -> probability in a report",
    ),
}


def mapping_table(mappings: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Dotted name, default and description of all that mappings of a stage hold.

    Example:
        >>> next(mapping_table(["weights"]))
        ('weights.correctness', '1.0', '(right - wrong) / checkable concepts, in [-1, 1]')
    """
    from vlmalign.cli.settings import settings_table

    for key in mappings:
        if key in DESCRIBED:
            yield f"{key}.NAME", *DESCRIBED[key]
            continue
        module, _, name = DECLARED[key].partition(":")
        yield from settings_table(getattr(import_module(module), name), f"{key}.")
