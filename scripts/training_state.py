"""The state of a training, from which it goes on after it was stopped or killed."""

import json
import os
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel


class ResumeError(RuntimeError):
    """A training state is damaged, or does not belong to the training that is to be continued."""


class TrainingState:
    """Keeps a training's state after each epoch as one file: safetensors, no pickle.

    The first process alone reads and writes the file and tells the others, so it need not lie on a disk
    that several machines share; go on from the machine that was the first.

    Args:
        folder: where the state is kept.
        settings: what is trained; a state with other settings is refused.
    """

    def __init__(self, folder: str | Path, settings: dict | None):
        self.path = Path(folder) / "state.safetensors"
        self.settings = json.loads(json.dumps(settings or {}))

    def keep(
        self,
        latest: dict[str, torch.Tensor],
        best: dict[str, torch.Tensor],
        optimizer: torch.optim.Optimizer,
        average: AveragedModel | None,
        history: list[dict],
    ) -> None:
        """Write the state completely, or not at all, and print the figures of the epoch as JSON."""
        if not PartialState().is_main_process:
            return
        parts = {"model": latest, "best": best, "optimizer": {}}
        parts["average"] = {} if average is None else average.state_dict()
        for index, moments in optimizer.state_dict()["state"].items():
            parts["optimizer"] |= {f"{index}.{name}": tensor for name, tensor in moments.items()}
        tensors = {
            f"{part}.{name}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for part, named in parts.items()
            for name, tensor in named.items()
        }
        metadata = {"history": json.dumps(history), "settings": json.dumps(self.settings)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".tmp")
        save_file(tensors, unfinished, metadata)
        os.replace(unfinished, self.path)
        print(json.dumps(history[-1]), flush=True)

    def restore(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, average: AveragedModel | None
    ) -> tuple[list[dict], dict[str, torch.Tensor]]:
        """Put everything back as it was; returns the history and the best weights, empty without a state.

        Raises:
            ResumeError: the state is damaged, or has other settings.
        """
        saved = broadcast_object_list([self._read() if PartialState().is_main_process else None])[0]
        if saved is None:
            return [], {}
        metadata, tensors = saved
        then = json.loads(metadata["settings"]) or {}
        names = sorted(then.keys() | self.settings.keys())
        pairs = {name: (then.get(name), self.settings.get(name)) for name in names}
        differing = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        if differing:
            raise ResumeError(
                f"{self.path} is the state of a training with other settings (saved, asked for): "
                f"{differing}. Use those, choose another state folder, or start anew with --restart."
            )
        parts: dict[str, dict] = {"model": {}, "best": {}, "average": {}, "optimizer": {}}
        for key, tensor in tensors.items():
            part, name = key.split(".", maxsplit=1)
            parts[part][name] = tensor
        model.load_state_dict(parts["model"])
        if average is not None:
            average.load_state_dict(parts["average"])
        moments: dict[int, dict] = {}
        for key, tensor in parts["optimizer"].items():
            index, name = key.split(".", maxsplit=1)
            moments.setdefault(int(index), {})[name] = tensor
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        return json.loads(metadata["history"]), parts["best"]

    def _read(self):
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                return file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ResumeError(f"{self.path} is damaged ({error}); start anew with --restart") from error
