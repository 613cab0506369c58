"""`vlmalign models`: the families of vision-language models that tests prove, and what others get."""

from __future__ import annotations

from rich.table import Table

from vlmalign.cli.console import console


def models() -> None:
    """List the families of models that are proved by tests, and what each refuses.

    For example: vlmalign models
    """
    from vlmalign.models.builtin import PREFIX, builtin_checkpoints
    from vlmalign.models.family import PROVED

    table = Table("family", "model_type in config.json", "for example", "refuses")
    for model_type, family in sorted(PROVED.items(), key=lambda item: item[1].name.lower()):
        table.add_row(family.name, model_type, family.examples, family.refuses or "-")
    console.print(table)
    console.print(
        "For each, tests on tiny models prove: one, several and no images in the prompts of a batch, images in "
        "earlier turns, padding on either side; a prompt run once for all its answers gives the log-probabilities "
        "and gradients of each answer run alone; sampled answers and cached image features do not depend on what "
        "else is in the batch.\n"
        "Any other image-text model of transformers is compared with itself on its first batch. Where a prompt "
        "cannot be shared by its answers, each answer is run alone (summary.json then says forward_mode: plain); "
        "where even that differs, the model is refused.",
        markup=False,
    )
    console.print(f"With the package: {', '.join(PREFIX + name for name in builtin_checkpoints())}.", markup=False)
