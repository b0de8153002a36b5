"""How good is a translator? Translation quality, and the quality of its alignments."""

import sacrebleu


def translation_scores(hypotheses, references):
    """Corpus BLEU and chrF, lower-cased, as `sacrebleu` computes them (13a tokenisation).

    Args:
        hypotheses, references: lists of as many plain sentences.

    Returns:
        ``{"bleu": ..., "chrf": ...}``, both from 0 to 100.
    """
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(
            f"as many references as hypotheses are needed, and at least one: "
            f"{len(hypotheses)} hypotheses, {len(references)} references"
        )
    bleu = sacrebleu.corpus_bleu(hypotheses, [references], lowercase=True)
    chrf = sacrebleu.corpus_chrf(hypotheses, [references])
    return {"bleu": bleu.score, "chrf": chrf.score}
