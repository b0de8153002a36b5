"""What is too long for a notebook: computed here, kept in ``data/results``, drawn in the notebooks.

python -m utils.experiments multi30k-en-fr
"""
