"""Words in: corpora, sub-word tokenisers and batches of token ids."""
