"""Records -> batches: encoding, collation, datasets, and the export that TRL reads.

A public name's module is imported at the name's first use: to convert formats loads no network library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmalign.data.blank import blank_image
    from vlmalign.data.case_pairs import CasePairs, PairBatch, PairItem, collate_pairs
    from vlmalign.data.cases import CasePrompt, CasePrompts
    from vlmalign.data.collation import TrainingBatch, collate, collate_prompts, encode_prompts, pad_token
    from vlmalign.data.datasets import DataSource, ExampleDataset
    from vlmalign.data.encode import (
        EncodedResponse,
        Example,
        candidate_prompt,
        encode_demonstration,
        encode_preference,
        encode_response,
    )
    from vlmalign.data.prompts import encode_prompt, prompt_text
    from vlmalign.data.trl_parquet import export_trl_parquet

_HOMES = {
    "blank_image": "blank",
    "CasePairs": "case_pairs",
    "PairBatch": "case_pairs",
    "PairItem": "case_pairs",
    "collate_pairs": "case_pairs",
    "CasePrompt": "cases",
    "CasePrompts": "cases",
    "TrainingBatch": "collation",
    "collate": "collation",
    "collate_prompts": "collation",
    "encode_prompts": "collation",
    "pad_token": "collation",
    "DataSource": "datasets",
    "ExampleDataset": "datasets",
    "EncodedResponse": "encode",
    "Example": "encode",
    "candidate_prompt": "encode",
    "encode_demonstration": "encode",
    "encode_preference": "encode",
    "encode_response": "encode",
    "encode_prompt": "prompts",
    "prompt_text": "prompts",
    "export_trl_parquet": "trl_parquet",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "CasePairs",
    "CasePrompt",
    "CasePrompts",
    "DataSource",
    "EncodedResponse",
    "Example",
    "ExampleDataset",
    "PairBatch",
    "PairItem",
    "TrainingBatch",
    "blank_image",
    "candidate_prompt",
    "collate",
    "collate_pairs",
    "collate_prompts",
    "encode_demonstration",
    "encode_preference",
    "encode_prompt",
    "encode_prompts",
    "encode_response",
    "export_trl_parquet",
    "pad_token",
    "prompt_text",
]
