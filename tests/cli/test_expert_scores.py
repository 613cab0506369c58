from vlmalign.cli.expert_scores import expert_figures


def test_an_error_of_counts_is_no_share_even_where_all_errors_are_0_or_1():
    rows = [
        {"structure": "leukocyte", "group": str(i), "dice": 0.9, "count_error": float(i > 0)} for i in range(4)
    ]
    figures = expert_figures(rows)
    assert figures["count_mae_leukocyte"]["high"] > 1
    assert figures["dice_leukocyte"]["high"] <= 1
