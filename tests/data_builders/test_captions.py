"""General captions."""

from data_builders import build_captions
from data_builders.captions import caption
from vlmalign.records import Demonstration, ImageRef, read_records

from .conftest import FULL, findings_of

IMAGE = ImageRef(path="x.png", sha256="0" * 64)


def test_a_caption_says_what_the_findings_say_and_nothing_else():
    words = caption(findings_of("c", IMAGE, FULL), seed=0, keep=1.0)
    assert sorted(words.removesuffix(".").split(", ")) == sorted(
        ["crisp edges", "faint colour", "one big cell", "lobed core", "30 percent filled", "two specks"]
    )


def test_no_caption_uses_a_word_of_the_clinical_language(logic):
    words = caption(findings_of("c", IMAGE, FULL), seed=0, keep=1.0)
    for term in ("leukocyte", "platelet", "stain", "focus", "segmented", "crowded", "impression"):
        assert term not in words


def test_details_are_left_out_at_the_given_rate_and_the_draw_is_seeded():
    findings = findings_of("c", IMAGE, FULL)
    kept = [caption(findings, seed=s, keep=0.5).count(",") + 1 for s in range(400)]
    assert 2.8 < sum(kept) / len(kept) < 3.3
    assert caption(findings, seed=7) == caption(findings, seed=7)


def test_a_case_without_findings_gives_no_caption_and_is_counted(world):
    cases = world.cases("cases", {"a": FULL, "b": {}})
    out = build_captions(cases, world.root / "captions")
    assert [d.case_id for d in read_records(out, Demonstration)] == ["a"]
