"""What the notebooks import: models, training, scores, pictures and the ledger of claims."""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Libraries read these when they are first imported, hence before anything else.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin would starve a program beside us
os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # but a moment of it is what makes small steps fast
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from utils.notebook import set_up, show, show_figure

if TYPE_CHECKING:
    from utils.claims import claim, findings

__all__ = ["claim", "findings", "set_up", "show", "show_figure"]


def __getattr__(name: str) -> Any:
    """The ledger of claims is imported when it is first asked for: the opening notebook keeps none."""
    if name not in ("claim", "findings"):
        raise AttributeError(f"module 'utils' has no attribute {name!r}")
    return getattr(importlib.import_module("utils.claims"), name)
