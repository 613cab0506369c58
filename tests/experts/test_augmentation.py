import torch

from experts.augmentation import augment, gaussian_blur, hue_rotation


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_labels_move_with_their_pixels():
    labels = torch.zeros(32, 12, 12, dtype=torch.long)
    labels[:, 1:5, 2:6] = 1
    images = labels[:, None].float().expand(-1, 3, -1, -1) * 0.6 + 0.2
    new_images, new_labels = augment(images, labels, generator())
    inside = new_labels.bool()
    assert (new_labels.sum((1, 2)) == 16).all()
    for image, mask in zip(new_images.mean(1), inside, strict=True):
        assert image[mask].min() > image[~mask].mean()
    assert len({tuple(mask.flatten().tolist()) for mask in inside}) == 8


def test_equal_seeds_give_equal_batches():
    images, labels = torch.rand(4, 3, 8, 8), torch.zeros(4, 8, 8, dtype=torch.long)
    assert torch.equal(augment(images, labels, generator(3))[0], augment(images, labels, generator(3))[0])


def test_the_input_is_left_alone():
    images, labels = torch.rand(4, 3, 8, 8), torch.zeros(4, 8, 8, dtype=torch.long)
    before = images.clone()
    augment(images, labels, generator())
    assert torch.equal(images, before)


def test_hue_turns_red_to_green_in_a_third_of_a_circle():
    third = hue_rotation(torch.tensor([2 * torch.pi / 3]))[0]
    assert torch.allclose(third @ torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0]), atol=1e-6)


def test_blur_keeps_a_flat_image_and_spreads_a_point():
    flat = torch.full((1, 3, 9, 9), 0.4)
    assert torch.allclose(gaussian_blur(flat, 1.0), flat, atol=1e-6)
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    blurred = gaussian_blur(point, 1.0)
    assert abs(float(blurred.sum()) - 1) < 1e-5 and blurred[0, 0, 4, 4] < 0.2
