"""Verify everything that the notebooks load, and convert SmolLM2 once: what set-up does (`hello prepare`)."""

import argparse
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from utils.pretrained import (
    CACHE,
    CHECKPOINTS,
    CHECKSUM_FILE,
    PACKAGES,
    CheckpointError,
    package_file,
    smollm2_folder,
    verify_folder,
    write_checksums,
)


def collect_problems(check: Callable[[str], Any], names: Iterable[str]) -> list[str]:
    """What ``verify_folder`` or ``package_file`` says about those names that it refuses."""
    problems = []
    for name in names:
        try:
            check(name)
        except CheckpointError as error:
            problems.append(str(error))
    return problems


def prepare() -> None:
    """Verify the checkpoints and the packages, and convert SmolLM2.

    Raises:
        CheckpointError: what is missing or damaged, all of it, and how to get it.
    """
    folders = sorted(path.parent for path in CHECKPOINTS.glob(f"*/{CHECKSUM_FILE}"))
    problems = collect_problems(verify_folder, folders) + collect_problems(package_file, PACKAGES)
    if problems:
        raise CheckpointError("\n".join(problems))
    print(f"verified {len(folders)} checkpoints and the packages of {', '.join(PACKAGES)}")
    print(f"verified {convert_smollm2().name}")


def convert_smollm2() -> Path:
    """Convert SmolLM2 from the GGUF file of its package, unless that was done before.

    The result is written under another name and renamed at the end, so an interrupted conversion is never
    taken for a whole one. Where it is whole, nothing is written: a read-only folder will do.

    Returns:
        The folder, which `transformers` can load.

    Raises:
        CheckpointError: the package is not installed (the message has the command) or damaged, or the
            result cannot be written.
    """
    folder = smollm2_folder()
    if not _problems(folder):
        return folder
    source = package_file("smollm2")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / "smollm2.lock"):  # another process may be at it
            if problems := _problems(folder):
                print(*problems, f"Converting {source.name} takes about 20 seconds.", flush=True)
                _convert_gguf(source, folder)
    except PermissionError as error:
        raise CheckpointError(
            f"SmolLM2 has to be converted once, but {CACHE} cannot be written ({error.strerror}); say "
            "`hello prepare` as a user who may write there"
        ) from None
    return folder


def _problems(folder):
    if not folder.is_dir():
        return [f"{folder.name} is not there yet."]
    return collect_problems(lambda path: verify_folder(path, "It is converted anew."), [folder])


def _convert_gguf(source, folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer  # imported here, because it takes seconds
    from transformers.utils import logging

    logging.disable_progress_bar()
    unfinished = folder.with_suffix(".unfinished")
    for old in (folder, unfinished):
        shutil.rmtree(old, ignore_errors=True)
    file = {"gguf_file": source.name, "local_files_only": True}
    with contextlib.redirect_stderr(io.StringIO()):  # bars of several libraries; the line above says it all
        model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **file)
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **file)
        model.hf_quantizer, model.is_quantized = None, False  # the weights are plain numbers by now
        del model.config.quantization_config
        model.half().save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        write_checksums(unfinished)
    os.replace(unfinished, folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of ``hello prepare``."""
    argparse.ArgumentParser(prog="hello prepare", description=__doc__).parse_args(arguments)
    try:
        prepare()
    except CheckpointError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
