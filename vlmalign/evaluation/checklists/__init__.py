"""Reporting checklists, filled from what runs wrote down; what no file tells stays a gap."""

from vlmalign.evaluation.checklists.answers import read_answers
from vlmalign.evaluation.checklists.evidence import read_evidence
from vlmalign.evaluation.checklists.filling import FilledChecklist, FilledItem, fill_checklist
from vlmalign.evaluation.checklists.items import CHECKLISTS, Checklist, ChecklistItem, load_checklist
from vlmalign.evaluation.checklists.page import checklist_html, checklist_markdown

__all__ = [
    "CHECKLISTS",
    "Checklist",
    "ChecklistItem",
    "FilledChecklist",
    "FilledItem",
    "checklist_html",
    "checklist_markdown",
    "fill_checklist",
    "load_checklist",
    "read_answers",
    "read_evidence",
]
