"""Formats of other toolkits, each in a file of its own: read into our records, and written from them."""

from vlmalign.data.formats import (
    llama_factory,
    llava,
    llava_rlhf,
    mm_rlhf,
    ms_swift,
    rlaif_v,
    rlhf_v,
    trl,
    vl_rewardbench,
)
from vlmalign.data.formats.exporting import ExportReport, export_rows
from vlmalign.data.formats.importing import ImportOptions, import_rows
from vlmalign.data.formats.row import Format

FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (
        trl, llama_factory, ms_swift, llava, llava_rlhf, rlaif_v, rlhf_v, mm_rlhf, vl_rewardbench,
    )
}  # fmt: skip


def get_format(name: str) -> Format:
    """A format by its name.

    Raises:
        ValueError: there is none.

    Example:
        >>> get_format("llava").kind
        'demonstration'
    """
    from vlmalign.records.suggestions import unknown

    if name not in FORMATS:
        raise ValueError(unknown("format", name, FORMATS))
    return FORMATS[name]


__all__ = ["FORMATS", "ExportReport", "Format", "ImportOptions", "export_rows", "get_format", "import_rows"]
