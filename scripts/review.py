"""The text of a review of IMDb whose features are shipped, for whoever has the corpus (`hello review ID`)."""

import argparse
import gzip
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def show_review(review: str) -> None:
    """Print the review of an id, where ``HELLO_TRANSFORMERS_DATA`` has the corpus, or say how to get it."""
    split, _, rest = review.partition("/")
    if split not in ("train", "test") or not rest:
        raise ValueError(f'an id begins with "train/" or "test/", such as "test/neg/0_2"; this is {review!r}')
    path = Path(os.environ.get("HELLO_TRANSFORMERS_DATA", "")).expanduser() / "imdb" / f"{split}.jsonl.gz"
    if "HELLO_TRANSFORMERS_DATA" not in os.environ or not path.exists():
        print(
            f"{review}: no text of a review is part of this project. Get IMDb's from "
            "https://ai.stanford.edu/~amaas/data/sentiment, where the id is a file's name; or set "
            f"HELLO_TRANSFORMERS_DATA to a folder with imdb/{split}.jsonl.gz (data/features/README.md)."
        )
        return
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            if row["id"] == review:
                return print(row["text"].replace("<br />", "\n"))
    raise ValueError(f"{path} has no review {review!r}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the reviews that the words on the command line name."""
    parser = argparse.ArgumentParser(prog="hello review", description=__doc__)
    parser.add_argument("ids", nargs="+", metavar="ID", help="of a review, such as test/neg/0_2")
    for review in parser.parse_args(arguments).ids:
        show_review(review)


if __name__ == "__main__":
    from scripts.command import main as hello

    hello(["review", *sys.argv[1:]])
