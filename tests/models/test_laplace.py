import pytest
import torch

from vlmalign.models.laplace import LastLayerLaplace


def test_the_deviation_is_that_of_the_inverse_curvature():
    generator = torch.Generator().manual_seed(0)
    differences = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, generator=generator, dtype=torch.float64)
    found = LastLayerLaplace.fit(differences, weight, precisions=[2.0])
    p = torch.sigmoid(differences @ weight)
    curvature = 2.0 * torch.eye(4) + differences.T @ torch.diag(p * (1 - p)) @ differences
    new = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    by_hand = torch.stack([(d @ torch.linalg.inv(curvature) @ d).sqrt() for d in new])
    torch.testing.assert_close(found.std(new), by_hand)


def test_more_pairs_leave_less_doubt_and_an_unseen_direction_keeps_the_prior():
    one = torch.tensor([[1.0, 0.0, 0.0]])
    few = LastLayerLaplace.fit(one, torch.zeros(3), precisions=[1.0])
    many = LastLayerLaplace.fit(one.repeat(100, 1), torch.zeros(3), precisions=[1.0])
    assert many.std(one) < few.std(one)
    assert many.std(torch.tensor([[0.0, 1.0, 0.0]])).item() == pytest.approx(1.0)


def test_the_prior_is_as_wide_as_the_weights_along_what_was_seen():
    differences = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
    tight = LastLayerLaplace.fit(differences, torch.full((6,), 0.01)).precision
    wide = LastLayerLaplace.fit(differences, torch.full((6,), 3.0)).precision
    assert tight > wide


@pytest.mark.parametrize("bad", [torch.zeros(0, 3), torch.zeros(4, 3), torch.full((1, 3), float("nan"))])
def test_pairs_that_say_nothing_are_refused(bad):
    with pytest.raises(ValueError, match="needs pairs whose answers differ"):
        LastLayerLaplace.fit(bad, torch.zeros(3))
