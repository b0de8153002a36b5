"""Which reviews of IMDb a run may learn from, and which it is tested on: the same for every model.

All places are those of the reviews in the splits train and test of ``load_imdb`` (25,000 each).
"""

import numpy as np

DEVELOPMENT_SEED, TEST_SEED, DRAW_SEED = 20180118, 20090615, 1706
DEVELOPMENT, TESTED = 4000, 5000


def development(labels) -> tuple[np.ndarray, np.ndarray]:
    """The training reviews on which recipes are chosen: 2,000 to learn from, and 2,000 to look at.

    No reported run with fewer than 25,000 labels ever sees them.
    """
    chosen = _balanced(
        labels, np.arange(len(labels)), min(DEVELOPMENT, len(labels) // 4 * 2), [DEVELOPMENT_SEED]
    )
    return chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]


def draw(labels, count: int, seed: int) -> np.ndarray:
    """The training reviews of a reported run, negative and positive in turn; all of them if it is so many.

    For one seed, small draws are parts of the larger ones.

    Raises:
        ValueError: an odd number, or more than there are.
    """
    if count == len(labels):
        return np.arange(len(labels))
    rest = np.setdiff1d(np.arange(len(labels)), np.concatenate(development(labels)))
    return _balanced(labels, rest, count, [DRAW_SEED, seed])


def choose_tested(labels, count: int = TESTED) -> np.ndarray:
    """The test reviews on which accuracies are measured, half of them positive."""
    return np.sort(_balanced(labels, np.arange(len(labels)), count, [TEST_SEED]))


def _balanced(labels, allowed, count, seed):
    labels = np.asarray(labels)
    if count < 2 or count % 2:
        raise ValueError(f"the number of labels must be even and at least 2, not {count}")
    columns = []
    for label in (0, 1):
        places = allowed[labels[allowed] == label]
        if len(places) < count // 2:
            raise ValueError(f"{count} labels were asked for, and there are {2 * len(places)}")
        columns.append(np.random.default_rng([*seed, label]).permutation(places)[: count // 2])
    return np.stack(columns, axis=1).ravel()
