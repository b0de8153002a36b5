"""Checkpoints: where they are, and whether they are what they should be."""

from pathlib import Path

from utils.data.corpora import sha256

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"
CHECKSUM_FILE = "SHA256SUMS"


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, or not of the kind that was asked for."""


def write_checksums(folder):
    """Write the SHA-256 checksums of all files that a model is loaded from into SHA256SUMS."""
    patterns = ("config.json", "*.safetensors", "*tokenizer.json")
    names = sorted(path.name for pattern in patterns for path in Path(folder).glob(pattern))
    lines = [f"{sha256(Path(folder) / name)}  {name}\n" for name in names]
    (Path(folder) / CHECKSUM_FILE).write_text("".join(lines))


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
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing. {restore}")
        found = sha256(folder / name)
        if found != expected:
            raise CheckpointError(
                f"{folder / name} is damaged: its SHA-256 is {found}, expected {expected}. {restore}"
            )
    return folder
