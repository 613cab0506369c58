"""Words without sight."""

from data_builders import build_demonstrations, build_ungrounded
from vlmalign.records import Demonstration, RecordFolder, read_records

from .conftest import FULL


def test_every_picture_is_the_same_grey_one_and_the_words_are_kept(world, logic):
    cases = world.cases("cases", {"a": FULL, "b": FULL})
    demos = build_demonstrations(cases, world.root / "demos", logic=logic, findings="reference")
    out = RecordFolder(build_ungrounded(demos, world.root / "grey"), Demonstration)
    assert {out.image(d.images[0]).convert("RGB").getpixel((0, 0)) for d in out} == {(128, 128, 128)}
    assert [d.response for d in out] == [d.response for d in read_records(demos, Demonstration)]


def test_what_is_left_out_is_counted(world, logic):
    cases = world.cases("cases", {f"c{i}": FULL for i in range(3)})
    demos = build_demonstrations(cases, world.root / "demos", logic=logic, findings="reference")
    out = RecordFolder(build_ungrounded(demos, world.root / "grey", every=4), Demonstration)
    assert (len(out), out.manifest.counts["left_out"]) == (2, 4)
