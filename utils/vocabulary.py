"""Signs and ids that all tokenisers of this project share; imports nothing, so that pictures can use it."""

LANGUAGE_NAMES = {"en": "English", "fr": "French", "de": "German"}

PADDING, UNKNOWN, START, END = "<pad>", "<unk>", "<s>", "</s>"
SPECIAL_TOKENS = [PADDING, UNKNOWN, START, END]
MASK = "[MASK]"  # for models that fill gaps; only their tokenisers have it
PADDING_ID, UNKNOWN_ID, START_ID, END_ID, MASK_ID = range(5)

WORD_SIGN = "▁"  # stands for the space before a word
