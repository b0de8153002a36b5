"""What the notebooks import: models, training, scores, pictures and the ledger of claims."""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Libraries read these when they are first imported, hence before anything else.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin would starve a program beside us
os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # but a moment of it is what makes small steps fast
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

if TYPE_CHECKING:
    from utils.claims import claim, findings
    from utils.notebook import set_up, show, show_figure

__all__ = ["claim", "findings", "set_up", "show", "show_figure"]


def __getattr__(name: str) -> Any:
    """Import what every notebook uses when it is first asked for, so that ``utils.plots`` stays light."""
    if name not in __all__:
        raise AttributeError(f"module 'utils' has no attribute {name!r}")
    home = "utils.claims" if name in ("claim", "findings") else "utils.notebook"
    return getattr(importlib.import_module(home), name)
