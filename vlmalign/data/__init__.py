"""Records -> batches: encoding, collation, datasets, and the export that TRL reads."""

from vlmalign.data.blank import blank_image
from vlmalign.data.case_pairs import CasePairs, PairBatch, PairItem, collate_pairs
from vlmalign.data.cases import CasePrompt, CasePrompts
from vlmalign.data.collate import TrainingBatch, collate, collate_prompts, encode_prompts, pad_token
from vlmalign.data.datasets import DataSource, ExampleDataset
from vlmalign.data.encode import (
    EncodedResponse,
    Example,
    candidate_prompt,
    encode_candidate,
    encode_demonstration,
    encode_preference,
    encode_response,
    stop_tokens,
)
from vlmalign.data.prompts import encode_prompt, prompt_text
from vlmalign.data.trl_parquet import export_trl_parquet

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
    "encode_candidate",
    "encode_demonstration",
    "encode_preference",
    "encode_prompt",
    "encode_prompts",
    "encode_response",
    "export_trl_parquet",
    "pad_token",
    "prompt_text",
    "stop_tokens",
]
