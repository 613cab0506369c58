import pytest

from vlmalign.evaluation import Estimate, ItemScore, plots

SOME = {"sft_more": Estimate(0.2, 0.1, 0.3, 40, 10, 0, "t"), "dpo": Estimate(0.4, None, None, 40, 1, 0, "-"),
        "broken": Estimate.nothing(40)}  # fmt: skip
CURVE = {str(n): {name: SOME["sft_more"] for name in ("reward", "random", "oracle")} for n in (1, 2, 4)}
ITEMS = [ItemScore("c", "g", "report", {}, {"stain": "pale"}, {"stain": "dark"})]

DRAWINGS = {
    "forest": lambda **style: plots.forest_plot(SOME, label="accuracy", references=SOME, **style),
    "comparison": lambda **style: plots.comparison_plot(SOME, **style),
    "best_of_n": lambda **style: plots.best_of_n_plot(CURVE, **style),
    "confusion": lambda **style: plots.confusion_plot(ITEMS, {"stain": ["pale", "dark"]}, **style),
    "empty forest": lambda **style: plots.forest_plot({}, label="accuracy", **style),
    "empty curve": lambda **style: plots.best_of_n_plot({}, **style),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_is_an_image_and_the_same_bytes_each_time(name):
    svg = DRAWINGS[name]()
    assert svg.startswith(b"<?xml") and b"<svg" in svg
    assert svg == DRAWINGS[name]()


def test_figures_come_as_png_and_for_dark_pages_too():
    assert DRAWINGS["forest"](image_format="png").startswith(b"\x89PNG")
    assert DRAWINGS["forest"](dark=True) != DRAWINGS["forest"]()


def test_a_rise_of_what_is_better_low_has_the_colour_of_worse():
    up, down = Estimate(0.2, 0.1, 0.3, 40, 10, 0, "t"), Estimate(-0.2, -0.3, -0.1, 40, 10, 0, "t")
    green, vermilion = plots.GREEN.lower().encode(), plots.VERMILION.lower().encode()
    assert green in (svg := plots.comparison_plot({"right": up})) and vermilion not in svg
    assert (
        vermilion in (svg := plots.comparison_plot({"omitted": up}, less_is_better=["omitted"]))
        and green not in svg
    )
    assert green in plots.comparison_plot({"omitted": down}, less_is_better=["omitted"])
