import random
import tracemalloc

from vlmalign.records.id_set import IdSet


def test_it_agrees_with_a_python_set_through_several_growths():
    draw, names, mine = random.Random(0), set(), IdSet()
    for _ in range(20_000):
        name = f"name-{draw.randrange(8_000)}"
        assert mine.add(name) == (name not in names)
        names.add(name)
    assert len(mine) == len(names)
    assert all(name in mine for name in names)
    assert not any(f"other-{i}" in mine for i in range(8_000))


def test_names_that_no_encoding_can_write_are_names_too():
    mine = IdSet()
    assert mine.add("\ud800") and not mine.add("\ud800") and mine.add("")


def test_a_name_takes_32_bytes_and_twice_that_while_the_table_grows():
    tracemalloc.start()
    try:
        mine = IdSet()
        for i in range(10_000):
            mine.add(f"{i:0100}")
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 60 * 10_000 and peak < 120 * 10_000  # the names alone are 149 bytes each
