from vlmalign.records.sized_folder import SizedFolder


def test_a_cache_is_counted_and_emptied(vlmalign, tmp_path):
    for name in ("a/1", "a/2", "b/1"):
        with SizedFolder(tmp_path / "features", 2**30).writing(name + ".safetensors") as partial:
            partial.write_bytes(b"x" * 2**20)
    shown = vlmalign("cache", "stats", "features").out.splitlines()
    assert [line.split()[1:4:2] for line in shown if " a " in line or " all " in line] == [
        ["a", "2"],
        ["all", "3"],
    ]
    assert vlmalign("cache", "clear", "features").out == "deleted 3 images, 3.0 MiB\n"
    assert vlmalign("cache", "clear", "features").out == "deleted 0 images, 0.0 MiB\n"


def test_a_cache_that_is_not_there_is_refused(refused):
    refused("cache", "stats", "nowhere", says="nowhere: no such folder")
