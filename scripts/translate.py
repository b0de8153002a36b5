"""Translate a sentence on the command line, and see where the translator looked.

python -m utils.translate --to fr "A man is riding a bicycle ."
python -m utils.translate --to fr --show "A man is riding a bicycle ."
python -m utils.translate --to fr --output alignment.png "A man is riding a bicycle ."
"""

import argparse
import sys

from utils.alignment import merge_into_words
from utils.pretrained import CheckpointError
from utils.translator import load_translator


def alignment_text(translation):
    """The alignment as lines of text: each target word, and the source words it looked at most.

    Raises:
        ValueError: a translation without attention weights.
    """
    if translation.attention_weights is None:
        raise ValueError("this translator has no attention, so there is no alignment to show")
    weights, sources, targets = merge_into_words(
        translation.attention_weights, translation.source_tokens, translation.target_tokens
    )
    width = max(map(len, targets))
    lines = []
    for word, row in zip(targets, weights, strict=True):
        largest = [index for index in row.argsort(descending=True).tolist()[:3] if row[index] >= 0.1]
        looked_at = "  ".join(f"{sources[index]} {row[index]:.2f}" for index in largest)
        lines.append(f"{word:<{width}}  ←  {looked_at}")
    return "\n".join(lines)


def main(arguments=None):
    """The command line of ``python -m utils.translate``."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.translate", description="Translate English sentences."
    )
    parser.add_argument("sentence", nargs="+", help="a sentence in quotation marks; several are possible")
    parser.add_argument("--to", default="fr", choices=["fr", "de"], help="language (default fr)")
    parser.add_argument("--model", default="gru-attention", help="which model (default gru-attention)")
    parser.add_argument("--checkpoint", help="a folder instead of --to and --model")
    parser.add_argument("--beam-size", type=int, default=5, help="candidates kept at each step (default 5)")
    parser.add_argument("--show", action="store_true", help="print the alignment as text")
    parser.add_argument("--output", metavar="FILE", help="draw the alignment of one sentence into FILE")
    parser.add_argument("--preset", choices=["default", "paper"], default="default", help="look of --output")
    parser.add_argument("--hide-end", action="store_true", help="leave the end token out of --output")
    options = parser.parse_args(arguments)
    if options.output and len(options.sentence) > 1:
        parser.error("--output draws one sentence; give one")
    try:
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
    except (CheckpointError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
