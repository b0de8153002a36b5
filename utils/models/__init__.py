"""The networks, written from scratch on PyTorch; they save, load and publish themselves."""

import contextlib
from pathlib import Path
from typing import cast

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import save_file
from torch import nn


class HubModel(nn.Module, PyTorchModelHubMixin):
    """A network that ``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` know.

    The arguments of its class go into ``config.json``. Weights have half precision on disk and single
    precision in memory; weights of another network are refused.
    """

    @property
    def config(self) -> dict:
        """The arguments that the network was made with."""
        return dict(cast(dict, self._hub_mixin_config))

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = {
            name: tensor.detach().to("cpu", torch.float16).contiguous()
            for name, tensor in self.state_dict().items()
        }
        save_file(weights, save_directory / "model.safetensors", metadata={"format": "pt"})

    @classmethod
    def _from_pretrained(cls, *, strict: bool = True, **options):
        with contextlib.redirect_stdout(None):  # it prints where it reads from
            return super()._from_pretrained(strict=strict, **options)
