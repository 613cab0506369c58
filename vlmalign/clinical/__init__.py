"""Clinical logic: one YAML per domain for generator, parser, consistency and answers. Imports no torch."""

from vlmalign.clinical.generator import (
    question_order,
    question_text,
    render_answer,
    render_conversation,
    render_report,
    render_sentence,
    report_prompt,
)
from vlmalign.clinical.loader import list_logics, load_logic
from vlmalign.clinical.measurements import FoundAnswers, answers_from_findings
from vlmalign.clinical.parser import ParsedText, parse_answer, parse_conversation, parse_text
from vlmalign.clinical.paths import derive, is_consistent
from vlmalign.clinical.schema import Logic
from vlmalign.clinical.shares import Share
from vlmalign.clinical.verification import Verification, verify

__all__ = [
    "FoundAnswers",
    "Logic",
    "ParsedText",
    "Share",
    "Verification",
    "answers_from_findings",
    "derive",
    "is_consistent",
    "list_logics",
    "load_logic",
    "parse_answer",
    "parse_conversation",
    "parse_text",
    "question_order",
    "question_text",
    "render_answer",
    "render_conversation",
    "render_report",
    "render_sentence",
    "report_prompt",
    "verify",
]
