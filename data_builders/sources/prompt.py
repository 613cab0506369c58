"""The request that a source puts before its pictures: the report prompt of the clinical logic."""

from __future__ import annotations

from collections.abc import Sequence

from vlmalign.clinical import list_logics, load_logic, report_prompt
from vlmalign.records import Message, user
from vlmalign.records.case import ImagePart, TextPart
from vlmalign.records.hashing import derive_seed

ANY_DOMAIN = ("Describe this image.",)  # for pictures of which no logic speaks


def prompt_bank(domain: str) -> tuple[str, ...]:
    """The wordings that cases of the domain are built with; part of a source's config.

    Example:
        >>> prompt_bank("peripheral_smear")
        ('Describe this blood smear field.',)
        >>> prompt_bank("dermatoscopy")
        ('Describe this image.',)
    """
    return load_logic(domain).report_prompts.train if domain in list_logics() else ANY_DOMAIN


def report_request(domain: str, case_id: str, images: int = 1) -> tuple[Message, ...]:
    """The user turn that asks for a report on the images; the wording is drawn by the case's id.

    Example:
        >>> report_request("peripheral_smear", "smear-0-0-0")[0].text
        'Describe this blood smear field.'
    """
    return (user(_request(domain, case_id), images=images),)


def request_with_earlier(domain: str, case_id: str, images: Sequence[int], about: str) -> tuple[Message, ...]:
    """The request on a study whose earlier one is shown first.

    Args:
        domain: of the logic.
        case_id: draws the wording.
        images: how many are of the earlier study, and how many of this one.
        about: what is said between them.

    Example:
        >>> request_with_earlier("peripheral_smear", "a", (2, 1), "Earlier:")[0].n_images
        3
    """
    earlier, now = images
    content = (*(ImagePart(),) * earlier, TextPart(text=about), *(ImagePart(),) * now)
    return (Message(role="user", content=(*content, TextPart(text=_request(domain, case_id)))),)


def _request(domain: str, case_id: str) -> str:
    if domain not in list_logics():
        return ANY_DOMAIN[0]
    return report_prompt(load_logic(domain), seed=derive_seed("prompt", case_id))
