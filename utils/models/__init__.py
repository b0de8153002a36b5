"""The networks, written from scratch on PyTorch; they save, load and publish themselves."""

import contextlib
from pathlib import Path
from typing import cast

from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import save_file
from torch import nn


class HubModel(nn.Module, PyTorchModelHubMixin):
    """A network of which the arguments go into ``config.json``; half precision on disk, single in memory."""

    @property
    def config(self) -> dict:
        """The arguments that the network was made with."""
        return dict(cast(dict, self._hub_mixin_config))

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = {name: tensor.cpu().half().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, save_directory / "model.safetensors", metadata={"format": "pt"})

    @classmethod
    def _from_pretrained(cls, *, strict: bool = True, **options):
        with contextlib.redirect_stdout(None):  # it prints where it reads from
            return super()._from_pretrained(strict=strict, **options)
