"""The command line of ``python -m phrasebook``: tab-separated sentences."""

import argparse
import sys

from phrasebook import LANGUAGES, SHORTEST, THEMES, write_phrases


def main(arguments: list[str] | None = None) -> None:
    """Write sentences to the standard output, one a line, or leave with a sentence that says why not."""
    parser = argparse.ArgumentParser(prog="python -m phrasebook", description="Write sentences.")
    parser.add_argument("--count", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed writes the same (default 0)")
    parser.add_argument("--languages", default="en,fr,de", help="which columns (default en,fr,de)")
    parser.add_argument("--theme", help=f"one of {', '.join(THEMES)} (default: all)")
    parser.add_argument("--min-words", type=int, default=SHORTEST, help="at least (default 2)")
    parser.add_argument("--max-words", type=int, default=20, help="at most (default 20)")
    options = parser.parse_args(arguments)
    languages = options.languages.split(",")
    unknown = [language for language in languages if language not in LANGUAGES]
    if unknown:
        sys.exit(f"error: there is no language {unknown[0]!r}; choose from {', '.join(LANGUAGES)}")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[attr-defined]
    lengths = options.min_words, options.max_words
    try:
        for row in write_phrases(options.count, options.seed, options.theme, *lengths):
            print("\t".join(row[language] for language in languages))
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
