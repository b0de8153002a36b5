import pytest
import torch

from utils.digits import (
    ARMS,
    CANVAS,
    digit_accuracy,
    digit_body,
    digit_images,
    fit_images,
    new_digits,
    pretrain_digit_body,
    scatter,
)


def test_scattering_moves_a_digit_and_changes_nothing_else():
    images = digit_images()[0][:20]
    canvases = scatter(images, torch.Generator().manual_seed(0), noise=0.0)
    assert canvases.shape == (20, 1, CANVAS, CANVAS)
    assert torch.allclose(canvases.sum(dim=(1, 2, 3)), images.sum(dim=(1, 2, 3)))
    windows = canvases.unfold(2, 8, 1).unfold(3, 8, 1)  # [20, 1, 9, 9, 8, 8]
    found = (windows == images[:, :, None, None]).all(dim=(-1, -2)).flatten(1).any(dim=1)
    assert found.all()
    places = canvases.sum(dim=(1, 3)).bool().int().argmax(dim=1)
    assert len(set(places.tolist())) > 3


def test_new_digits_are_balanced_and_never_tested_on():
    images, labels, test_images, test_labels = new_digits(0, 20)
    assert labels.bincount().tolist() == [4] * 5
    assert not (images[:, None] == test_images[None]).all(dim=(-1, -2, -3)).any()
    assert torch.equal(new_digits(0, 20)[0], images)
    assert not torch.equal(new_digits(1, 20)[0], images)
    assert set(test_labels.tolist()) == set(range(5))


@pytest.mark.parametrize("count", [0, 7, 500])
def test_impossible_counts_are_refused(count):
    with pytest.raises(ValueError, match=f"multiple of 5 from 5 to 350, not {count}"):
        new_digits(0, count)


def test_a_frozen_body_is_the_given_one_and_stays_so():
    body = pretrain_digit_body(0, steps=5)
    before = [parameter.clone() for parameter in body.parameters()]
    scores = {arm: digit_accuracy(arm, body, 0, 10) for arm in ARMS}
    assert all(torch.equal(a, b) for a, b in zip(before, body.parameters(), strict=True))
    assert len(set(scores.values())) > 1
    with pytest.raises(ValueError, match="from scratch, frozen body, fine-tuned"):
        digit_accuracy("half", body, 0, 10)


def test_fitting_lowers_the_loss():
    torch.manual_seed(0)
    images, labels, *_ = new_digits(0, 50)
    network = torch.nn.Sequential(digit_body(), torch.nn.Linear(64, 5))
    fit_images(network, network.parameters(), lambda: (images, labels), 60, 3e-3)
    assert (network(images).argmax(dim=1) == labels).float().mean() > 0.8
