"""Bodies from `transformers`, and the features of texts by a body: for experiments."""

from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertModel
from transformers.utils import logging

from utils.inputs import pad, sorted_batches
from utils.pretrained import package_file
from utils.transfer import pool
from utils.vocabulary import PADDING_ID


def load_minilm() -> tuple[Any, Any]:
    """Load all-MiniLM-L6-v2, a BERT encoder of 22 million parameters, from its package.

    Gives a ``BertModel``, and a ``tokenizers.Tokenizer`` that cuts texts off after 512 tokens.
    """
    logging.disable_progress_bar()
    folder = package_file("minilm").parent
    model = BertModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.config.max_position_embeddings)
    tokenizer.encode_special_tokens = True  # "[SEP]" in a text is text
    return model.eval(), tokenizer


class TransformersBody(nn.Module):
    """The last hidden states of a model from `transformers`, such as MiniLM, which is not copied.

    Used in notebook 03, *A frozen body and a linear head, on real reviews*.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.model, self.width = model, model.config.hidden_size

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state

    def layers(self) -> list[list[nn.Parameter]]:
        """The parameters of an encoder from the input upwards: the embeddings, then layer by layer."""
        parts = [self.model.embeddings, *self.model.encoder.layer]
        return [list(part.parameters()) for part in parts]


@torch.no_grad()
def text_features(body: Any, ids: list[list[int]], pooling="mean", batch_size=64) -> Tensor:
    """The features of texts, lists of token ids, by a frozen body: [texts, width], pooled as ``pool`` does.

    Built in notebook 03, *A frozen body and a linear head, on real reviews*.
    """
    body.eval()
    found: dict[int, Tensor] = {}
    for chunk in sorted_batches([len(row) for row in ids], batch_size):
        tokens = pad([ids[i] for i in chunk])  # [batch, time]
        mask = tokens != PADDING_ID
        found |= zip(chunk, pool(body(tokens, mask), mask, pooling), strict=True)
    return torch.stack([found[i] for i in range(len(ids))])
