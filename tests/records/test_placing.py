"""Files taken over from elsewhere: nothing from outside a folder gets in, nothing of its own goes over."""

import pytest
from PIL import Image

from vlmalign.records import DataError, DatasetBuild, Finding, ImageRef, Region, load_image
from vlmalign.records.hashing import sha256_file
from vlmalign.records.placing import Files


@pytest.fixture
def theirs(tmp_path):
    (tmp_path / "theirs" / "images").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("top secret")
    return tmp_path / "theirs"


@pytest.mark.parametrize("place", ["images/m.png", "linked/secret.txt"])
def test_a_link_out_of_another_folder_brings_nothing_in(theirs, tmp_path, place):
    (theirs / "images" / "m.png").symlink_to(tmp_path / "secret.txt")
    (theirs / "linked").symlink_to(tmp_path)
    mine = tmp_path / "mine"
    with pytest.raises(DataError, match="leads out of the dataset folder"):
        Files(mine).adopt(place, theirs, None)
    assert not mine.exists()


@pytest.mark.parametrize("name", ["manifest.json", "./records.jsonl", "Journal.jsonl", "skipped.jsonl", "."])
def test_a_record_cannot_bring_in_the_files_that_a_folder_keeps_of_itself(theirs, tmp_path, name):
    (theirs / name.lower()).write_text("{}") if name != "." else None
    image = ImageRef(path="images/x.png", sha256="0" * 64)
    mask = Finding(
        id="f", case_id="c", image=image, concept="a", status="present", expert="e@1", region=Region(mask=name)
    )
    with DatasetBuild(tmp_path / "mine", "finding", {}) as build:
        with pytest.raises(DataError, match="keeps of itself"):
            build.adopt_file(mask.region.mask, theirs)
        assert [path.name for path in build.path.iterdir()] == ["journal.jsonl"]


def test_of_a_link_within_the_data_the_picture_is_stored_and_not_the_link(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    Image.new("RGB", (8, 8), "red").save(data / "kept-by-hash.png")
    (data / "patient.png").symlink_to("kept-by-hash.png")
    ref = Files(tmp_path / "mine").add_image(data / "patient.png")
    stored = tmp_path / "mine" / ref.path
    assert not stored.is_symlink() and sha256_file(stored) == ref.sha256
    assert load_image(stored).getpixel((0, 0)) == (255, 0, 0)


def test_only_the_pixels_of_a_picture_are_written(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "Jane Roe"
    profile = b"of Jane Roe's scanner"
    Image.new("RGB", (8, 8), "red").save(tmp_path / "named.png", exif=exif, icc_profile=profile)
    named = load_image(tmp_path / "named.png")
    ref = Files(tmp_path / "mine").add_image(named)
    assert named.info["icc_profile"] == profile
    assert b"Jane" not in (tmp_path / "mine" / ref.path).read_bytes()
    assert load_image(tmp_path / "mine" / ref.path).info == {}
