"""Whether everything that the notebooks need is here, and what to do about what is missing."""

import importlib.metadata
import platform
from pathlib import Path

import psutil

from utils.pretrained import CHECKPOINTS, collect_problems, package_file, packages, verify_folder

ROOT = Path(__file__).parents[1]


MEMORY = 2.0  # GB that a notebook may need


def pinned_packages():
    """The packages in ``requirements.txt``, a dictionary from name to version."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    return dict(line.split("==") for line in lines if "==" in line)


def versions():
    """Print the versions of Python and of all packages, and the processor."""
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, ", end="")
    print(f"{psutil.cpu_count()} processors, {psutil.virtual_memory().total / 1e9:.0f} GB of memory")
    print(", ".join(f"{name} {_version(name)}" for name in pinned_packages()))


def health():
    """Check packages, checkpoints, models from packages, and memory; print what to do about each problem.

    Returns:
        True if nothing is missing.
    """
    free = psutil.virtual_memory().available / 1e9
    memory = f"{free:.1f} GB are free, a notebook may need {MEMORY:.0f}: close other programs or notebooks"
    folders = sorted(path for path in CHECKPOINTS.iterdir() if path.is_dir())
    checks = {
        "packages": _package_problems(),
        "checkpoints": collect_problems(verify_folder, folders),
        "models": collect_problems(package_file, packages()),
        "memory": [memory] if free < MEMORY else [],
    }
    for name, problems in checks.items():
        print(f"{'✗' if problems else '✓'} {name}")
        for problem in problems:
            print(f"    {problem}")
    return not any(checks.values())


def _version(name):
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_problems():
    wrong = [
        f"{name} is {f'version {_version(name)}' if _version(name) else 'missing'}; {wanted} is tested"
        for name, wanted in pinned_packages().items()
        if _version(name) != wanted
    ]
    return [*wrong, "install them with `pip install -r requirements.txt`"] if wrong else []
