import pytest
import torch
from torch.nn import functional as F

from utils.training import SmoothedCrossEntropy
from utils.vocabulary import PADDING_ID


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("size", [1.0, 60.0])
def test_the_loss_and_its_gradient_equal_the_librarys(smoothing, size):
    torch.manual_seed(0)
    expected = torch.tensor([5, 7, PADDING_ID, 4, PADDING_ID])
    found = []
    for by_hand in (True, False):
        torch.manual_seed(1)
        logits = (size * torch.randn(5, 30)).requires_grad_()
        if by_hand:
            loss = SmoothedCrossEntropy.apply(logits, expected, smoothing)
        else:
            loss = F.cross_entropy(logits, expected, ignore_index=PADDING_ID, label_smoothing=smoothing)
        (3 * loss).backward()
        found.append((loss.detach(), logits.grad))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not found[0][1][2].any()


def test_certain_logits_give_no_infinity():
    logits = torch.zeros(1, 30)
    logits[0, 9] = 1000.0
    loss = SmoothedCrossEntropy.apply(logits, torch.tensor([5]), 0.1)
    assert loss.item() == pytest.approx(0.9 * 1000 + 0.1 * 1000 * 29 / 30, rel=1e-5)
