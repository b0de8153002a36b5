"""Transfer between images: a network that knows the digits 0 to 4 learns 5 to 9.

The images are scikit-learn's handwritten digits, 8 by 8 pixels, thrown anywhere on a larger, noisy
canvas. On the plain images there is hardly anything to transfer: every digit sits in the middle, and a
network reads it off single pixels. Built in notebook 03, *Body and head, with digits*.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

CANVAS = 16  # pixels on a side
BODY_WIDTH = 64
LABEL_COUNTS = (5, 10, 20, 50, 100, 200)
ARMS = ("from scratch", "frozen body", "fine-tuned")


def digit_images():
    """The 1,797 digits: images [1797, 1, 8, 8] with values from 0 to 1, and labels [1797]."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    return images, torch.tensor(digits.target)


def scatter(images, generator, noise=0.3):
    """Throw images [count, 1, 8, 8] anywhere on canvases [count, 1, CANVAS, CANVAS] with noise."""
    count, size = len(images), images.size(-1)
    corners = torch.randint(CANVAS - size + 1, (count, 2), generator=generator)
    rows, columns = (corners[:, i, None] + torch.arange(size) for i in range(2))  # [count, size]
    canvases = torch.zeros(count, 1, CANVAS, CANVAS)
    canvases[torch.arange(count)[:, None, None], 0, rows[:, :, None], columns[:, None, :]] = images[:, 0]
    return canvases + noise * torch.randn(canvases.shape, generator=generator)


def digit_body():
    """A small convolutional network: images [batch, 1, side, side] → features [batch, BODY_WIDTH]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, BODY_WIDTH, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(1),  # wherever it was seen
        nn.Flatten(),
    )


def fit_images(network, parameters, draw, steps, learning_rate):
    """Train a network on batches of images.

    Args:
        network: images → scores of labels.
        parameters: what may change, an iterable.
        draw: ``draw()`` returns images and labels of one step.
        steps, learning_rate: of Adam.
    """
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    for _ in range(steps):
        images, labels = draw()
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def pretrain_digit_body(seed, steps=600):
    """A body trained with a head for the digits 0 to 4, each time in another place."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, labels = digit_images()
    images, labels = images[labels < 5], labels[labels < 5]
    network = nn.Sequential(digit_body(), nn.Linear(BODY_WIDTH, 5))

    def draw():
        chosen = torch.randint(len(images), (32,), generator=generator)
        return scatter(images[chosen], generator), labels[chosen]

    fit_images(network, network.parameters(), draw, steps, 3e-3)
    return network[0]


def new_digits(seed, count):
    """Labelled images of the digits 5 to 9, and others to test on.

    Args:
        seed: of the choice and of the places.
        count: labelled images, as many of each digit; at most 350.

    Returns:
        Images [count, 1, CANVAS, CANVAS] and labels [count] from 0 to 4, and the same for the test.

    Raises:
        ValueError: a count that cannot be had, or not a multiple of 5.
    """
    if count % 5 or not 5 <= count <= 350:
        raise ValueError(f"count must be a multiple of 5 from 5 to 350, not {count}")
    generator = torch.Generator().manual_seed(seed)
    images, labels = digit_images()
    images, labels = images[labels > 4], labels[labels > 4] - 5
    order = torch.randperm(len(images), generator=generator)
    canvases, labels = scatter(images, generator)[order], labels[order]
    half = len(order) // 2
    chosen = torch.cat([(labels[:half] == digit).nonzero()[: count // 5, 0] for digit in range(5)])
    return canvases[chosen], labels[chosen], canvases[half:], labels[half:]


def digit_accuracy(arm, body, seed, count, steps=150):
    """Accuracy on unseen images of 5 to 9 after learning from a few labelled ones.

    Args:
        arm: one of ``ARMS``: a new body, the given one as it is with a linear head, or the given one
            trained on.
        body: what ``pretrain_digit_body`` returned; it is copied, not changed.
        seed: of the data and of what is new in the network.
        count: labelled images.
        steps: of the training; a head alone, whose features are computed once, takes twice as many.

    Raises:
        ValueError: another arm, or an impossible count.
    """
    if arm not in ARMS:
        raise ValueError(f"there is no arm {arm!r}; choose one of {', '.join(ARMS)}")
    images, labels, test_images, test_labels = new_digits(seed, count)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(digit_body(), nn.Linear(BODY_WIDTH, 5))
    if arm != "from scratch":
        network[0].load_state_dict(body.state_dict())

    def draw(inputs=images):
        chosen = torch.randint(count, (min(32, count),), generator=generator)
        return inputs[chosen], labels[chosen]

    if arm == "frozen body":  # its features never change, so they are computed once
        with torch.no_grad():
            features = network[0](images)
        fit_images(network[1], network[1].parameters(), lambda: draw(features), 2 * steps, 1e-2)
    else:
        fit_images(network, network.parameters(), draw, steps, 3e-3 if arm == "from scratch" else 1e-3)
    with torch.no_grad():
        return (network(test_images).argmax(dim=1) == test_labels).float().mean().item()
