"""Translate sentences on the command line, and see where the translator looked."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from utils.translator import Translation


def alignment_text(translation: "Translation") -> str:
    """The alignment as lines of text: each target word, and the source words it looked at most.

    Raises:
        ValueError: a translation without attention weights.
    """
    from utils.plots.weights import prepare

    if translation.attention_weights is None:
        raise ValueError("this translator has no attention, so there is no alignment to show")
    weights, sources, targets = prepare(translation)
    width = max(map(len, targets))
    lines = []
    for word, row in zip(targets, weights, strict=True):
        largest = [index for index in (-row).argsort(kind="stable").tolist()[:3] if row[index] >= 0.1]
        looked_at = "  ".join(f"{sources[index]} {row[index]:.2f}" for index in largest)
        lines.append(f"{word:<{width}}  ←  {looked_at}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of ``hello translate``."""
    parser = argparse.ArgumentParser(
        prog="hello translate",
        description="Translate English sentences. The shipped translators know descriptions of photographs.",
        epilog='example: hello translate --to de --show "A black cat sleeps on a white chair ."',
    )
    add = parser.add_argument
    add("sentence", nargs="+", help="a sentence in quotation marks; several are possible")
    add("--to", default="fr", choices=["fr", "de"], help="language (default fr)")
    add("--model", default="gru-attention", help="gru-attention, transformer or, for fr, gru")
    add("--checkpoint", metavar="FOLDER", help="a folder or a name instead of --to and --model")
    add("--beam-size", type=int, default=5, help="candidates kept at each step (default 5)")
    add("--show", action="store_true", help="print which words it looked at for each word")
    add("--output", metavar="FILE", type=Path, help="draw that for one sentence: FILE.png, .svg or .pdf")
    add("--preset", choices=["default", "paper"], default="default", help="look of --output")
    add("--hide-end", action="store_true", help="leave the end token out of --output")
    options = parser.parse_args(arguments)
    if options.output:
        check_output(parser, options.output)
        if len(options.sentence) > 1:
            parser.error("--output draws one sentence; give one")
    from utils.translator import load_translator

    translator = load_translator(options.checkpoint or f"multi30k-en-{options.to}-{options.model}")
    translations = translator.translate(options.sentence, options.beam_size)
    for translation in translations:
        print(translation.text)
        if options.show:
            print(alignment_text(translation))
    if options.output:
        import matplotlib

        matplotlib.use("agg")
        from utils.plots import plot_alignment, use_style

        use_style()
        source, target = translator.languages
        ax = plot_alignment(
            translations[0],
            preset=options.preset,
            show_end=not options.hide_end,
            source_language=source,
            target_language=target,
        )
        ax.figure.savefig(options.output)
        print(f"saved {options.output}")


def check_output(parser: argparse.ArgumentParser, path: Path) -> None:
    """End with a usage error where a picture cannot be written."""
    from matplotlib.figure import Figure

    kinds = sorted(Figure().canvas.get_supported_filetypes())
    if path.suffix.lower().removeprefix(".") not in kinds:
        parser.error(f"--output {path} must end in one of {', '.join('.' + kind for kind in kinds)}")
    if not path.absolute().parent.is_dir():
        parser.error(f"--output {path}: there is no folder {path.parent}")


if __name__ == "__main__":
    from scripts.command import main as hello

    hello(["translate", *sys.argv[1:]])
