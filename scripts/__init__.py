"""The workshop: what makes the data, checkpoints, results and figures. No notebook imports it."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "0")  # unlike the notebooks, it may fetch a corpus
import utils  # noqa: F401  (before torch is loaded, since it says how threads wait)
