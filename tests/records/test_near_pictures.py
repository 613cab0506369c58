import random

import pytest

from vlmalign.records.near_pictures import NearPictures


@pytest.mark.parametrize("max_bits", [1, 4, 9])
def test_bands_find_what_comparing_all_pairs_finds(max_bits):
    draw = random.Random(max_bits)
    near, known = NearPictures(max_bits), []
    for number in range(300):
        mine = draw.getrandbits(64)
        if known and number % 2:
            mine = draw.choice(known)
            for bit in draw.sample(range(64), draw.randrange(2 * max_bits + 2)):
                mine ^= 1 << bit
        closest = min(((mine ^ other).bit_count() for other in known), default=65)
        found = near.find(mine)
        assert (found is not None) == (closest <= max_bits)
        if found is not None:
            assert (mine ^ int(found)).bit_count() == closest
        near.add(mine, str(mine))
        known.append(mine)


def test_more_bits_than_a_hash_can_tell_are_refused():
    with pytest.raises(ValueError, match="max_bits is 32: 0 to 31"):
        NearPictures(32)
