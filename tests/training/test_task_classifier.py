from types import SimpleNamespace

import pytest
import torch

from vlmalign.training.task_classifier import fit_domain_router


def world(n, domains, seed=0):
    """States whose third number tells the domain; domains take turns, two cases to a group."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(n, 4, generator=generator)
    names = [domains[i % len(domains)] for i in range(n)]
    states[:, 2] = 50 + 10.0 * torch.tensor([domains.index(name) for name in names])
    return states, [SimpleNamespace(domain=name, group_id=f"g{i // 2}") for i, name in enumerate(names)]


@pytest.mark.parametrize("domains", [["eye", "smear"], ["chest", "eye", "smear"]])
def test_prompts_are_routed_by_the_state_that_tells_their_domain(domains):
    states, cases = world(60, domains)
    router, figures = fit_domain_router(states, cases, share=0.2, seed=0)
    assert router.tasks == tuple(domains) and figures["router_accuracy"] == 1.0
    assert figures["router_majority"] < 0.8
    new, expected = world(30, domains, seed=1)
    assert [router.tasks[task] for task in router.route(new, [""] * 30)] == [case.domain for case in expected]


def test_one_domain_is_no_choice():
    with pytest.raises(ValueError, match="all of domain 'eye'"):
        fit_domain_router(*world(8, ["eye"]), share=0.2, seed=0)
