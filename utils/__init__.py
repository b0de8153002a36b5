"""What the notebooks import: models, training, scores, pictures and the ledger of claims."""

import os

# Libraries read these when they are first imported, hence before anything else.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin would starve a program beside us
os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # but a moment of it is what makes small steps fast
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from utils.claims import claim, findings
from utils.notebook import set_up, show, show_figure

__all__ = ["claim", "findings", "set_up", "show", "show_figure"]
