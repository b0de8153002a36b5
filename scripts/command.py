"""The command ``hello``: one word for each thing that the workshop does.

``python -m scripts`` does the same. What a word needs is imported when it is called, so help comes at once.
"""

import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = {  # the module, and what its main() does
    "translate": ("scripts.translate", "translate sentences, and see where the translator looked"),
    "train": ("scripts.train", "train a translator, a language model, or a masked one"),
    "evaluate": ("scripts.evaluate", "score a translator of captions on Multi30k"),
    "experiment": ("scripts.experiments.__main__", "compute results and model cards that are shipped"),
    "review": ("scripts.review", "print a review of IMDb whose features are shipped"),
    "benchmark": ("scripts.benchmark", "measure the speed of training and of decoding"),
    "figures": ("scripts.figures", "draw the chapter's figures into imgs/"),
    "claims": ("scripts.claims_table", "write the table of claims from the notebooks' outputs"),
    "site": ("scripts.pages", "write the notebooks as pages that link to each other"),
    "run": ("scripts.run_notebooks", "execute the notebooks, and report what was measured"),
    "prepare": ("scripts.prepare", "verify and convert the models that the notebooks load"),
    "convert": ("scripts.convert", "convert a checkpoint of the first edition's layout"),
}

EXAMPLES = """examples:
  hello translate --to fr --show "A man is riding a bicycle ."
  hello train translator --corpus captions --vocabulary-size 300 --epochs 2 --output try
  hello figures --help"""

OURS = ("utils", "scripts", "phrasebook")


def usage() -> str:
    """The help of ``hello`` itself."""
    lines = "\n".join(f"  {name:<11} {summary}" for name, (_, summary) in COMMANDS.items())
    return (
        "usage: hello COMMAND [OPTIONS]\n\nThe workshop of Hello Transformers.\n\n"
        f"commands:\n{lines}\n\nhello COMMAND --help has the options of each.\n\n{EXAMPLES}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``hello``, and leave the process with its exit code.

    The code is 0 if all went well, 1 if not (one sentence on the standard error says why), 2 if the command
    line is not understood, and 130 if it was interrupted.

    Args:
        arguments: the words after ``hello``; None: those of this process.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Do what the words say, and return the exit code; see ``main``."""
    _set_encoding()
    name, *rest = arguments or [""]
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name not in COMMANDS:
        problem = f"there is no command {name!r}" if name else "a command is needed"
        print(f"{usage()}\n\nerror: {problem}", file=sys.stderr)
        return 2
    try:
        return importlib.import_module(COMMANDS[name][0]).main(rest) or 0
    except KeyboardInterrupt:
        print("interrupted; a training goes on from its last finished epoch", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as with `hello … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        expected = isinstance(error, OSError | ValueError | FloatingPointError)
        if not expected and type(error).__module__.partition(".")[0] not in OURS:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


def _set_encoding():
    """UTF-8 into files and pipes; a terminal keeps its own, and gets "?" for what it cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            chosen = os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8") or stream.isatty()
            stream.reconfigure(encoding=None if chosen else "utf-8", errors="replace")


if __name__ == "__main__":
    main()
