"""Shared code of the Hello Transformers notebooks: data, models, training, evaluation and pictures."""
