"""What readers' answers say: win rates, ratings, marked errors, agreement, and what might have biased them."""

from vlmalign.reader_study.analysis.analyze import analyze
from vlmalign.reader_study.analysis.methods_text import methods_text
from vlmalign.reader_study.analysis.report_page import write_analysis
from vlmalign.reader_study.analysis.win_rates import win_rates

__all__ = ["analyze", "methods_text", "win_rates", "write_analysis"]
