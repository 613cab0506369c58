"""Which BCCD photographs must stay together when the data are split.

The set has no patient ids, so groups are blocks of consecutive file numbers. That alone would leak: the slides
were scanned to and fro, and some photographs show the same cells again. Measured on the 292 photographs
(train and validation part, revision d272fb1):

- Neighbours are *not* alike as pictures. Mean absolute difference of 32 x 24 thumbnails (grey levels) at number
  distance 1, 2, 3, 5, 10: 17.9, 18.0, 18.0, 18.0, 18.3; random pairs: 18.5.
- They are alike in mean colour: 2.1, 2.4, 2.3, 2.7, 3.4 against 3.8, so stain and lamp drift over about
  ten numbers. A block of 10 keeps most of that inside a group.
- 33 pairs show partly the same cells. 31 overlap by a tenth of the picture or more, with a normalised
  cross-correlation of the detail of at least 0.83 at the best shift (the next pair with so much overlap stays
  below 0.77); two are neighbours that overlap by 4 to 6 % and fit their other overlaps or the scan. Smaller
  overlaps cannot be told from chance. Only 10 of the pairs are direct neighbours; the other 23 are 3 to 73
  numbers apart, where the next row of the scan passes the last. No gap in numbers prevents that.

Hence the defaults: block 10, blocks joined where `OVERLAPS` links them (33 groups), and gap 0 in the split. A gap
of 1 would drop about 26 of the 292 photographs at borders between roles and remove no overlap that is known.
"""

from __future__ import annotations

OVERLAPS: tuple[tuple[int, int], ...] = (
    (37, 38), (44, 45), (107, 108), (147, 148), (165, 193), (166, 193), (204, 276), (204, 277), (206, 278),
    (207, 279), (223, 224), (223, 263), (223, 264), (224, 264), (228, 259), (230, 257), (231, 255), (231, 256),
    (232, 255), (237, 252), (239, 240), (242, 248), (243, 250), (244, 247), (255, 256), (263, 264), (276, 277),
    (311, 312), (364, 409), (377, 400), (381, 397), (382, 395), (384, 393),
)  # fmt: skip


def group_of(number: int, block: int) -> int:
    """The group of a photograph: the lowest block that its own block is joined with.

    Args:
        number: the photograph's file number.
        block: how many consecutive numbers make a block.

    Example:
        >>> group_of(12, 10), group_of(205, 10), group_of(278, 10)
        (1, 20, 20)
    """
    joined = {number // block}
    while True:
        more = {
            other // block for pair in OVERLAPS for other in pair if any(one // block in joined for one in pair)
        }
        if more <= joined:
            return min(joined)
        joined |= more
