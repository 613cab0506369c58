"""The request that a source puts before its pictures: the report prompt of the clinical logic."""

from __future__ import annotations

from vlmalign.clinical import load_logic, report_prompt
from vlmalign.records import Message, user
from vlmalign.records.hashing import derive_seed


def prompt_bank(domain: str) -> tuple[str, ...]:
    """The wordings that cases of the domain are built with; part of a source's config.

    Example:
        >>> prompt_bank("peripheral_smear")
        ('Describe this blood smear field.',)
    """
    return load_logic(domain).report_prompts.train


def report_request(domain: str, case_id: str, images: int = 1) -> tuple[Message, ...]:
    """The user turn that asks for a report on the images; the wording is drawn by the case's id.

    Example:
        >>> report_request("peripheral_smear", "smear-0-0-0")[0].text
        'Describe this blood smear field.'
    """
    return (user(report_prompt(load_logic(domain), seed=derive_seed("prompt", case_id)), images=images),)
