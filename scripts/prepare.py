"""scripts.prepare"""

import argparse
import sys

from utils.pretrained import (
    CHECKPOINTS,
    CHECKSUM_FILE,
    CheckpointError,
    convert_smollm2,
    package_file,
    packages,
    verify_folder,
)


def prepare():
    """Verify everything that the notebooks load: the checkpoints and the packages; convert SmolLM2."""
    for folder in sorted(path.parent for path in CHECKPOINTS.glob(f"*/{CHECKSUM_FILE}")):
        verify_folder(folder)
        print(f"verified {folder.name}")
    for name in packages():
        package_file(name)
        print(f"verified {name}")
    print(f"verified {convert_smollm2().name}")


def main(arguments=None):
    """The command line of ``python -m utils.pretrained``."""
    parser = argparse.ArgumentParser(prog="python -m utils.pretrained")
    parser.add_argument("command", choices=["prepare"], help="verify and convert models, during set-up")
    parser.parse_args(arguments)
    try:
        prepare()
    except CheckpointError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
