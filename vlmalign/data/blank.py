"""The blind control: the same question about a picture that shows nothing."""

from __future__ import annotations

from PIL import Image

GREY = (128, 128, 128)


def blank_image(image: Image.Image) -> Image.Image:
    """A picture of the same size in one fixed grey.

    Grey is the mean that image processors subtract (about half of full scale), so the pixel values are
    near zero. The picture's own mean is not used: it would still tell stain and crowding.

    Example:
        >>> blank_image(Image.new("RGB", (4, 2), (200, 0, 0))).getpixel((3, 1))
        (128, 128, 128)
    """
    return Image.new("RGB", image.size, GREY)
