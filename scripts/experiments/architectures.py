"""Every model of text in the registry of `transformers`, made small and called alike: notebook 04's table.

hello experiment architectures

Nothing is downloaded: a model is made from its configuration, with random weights.
"""

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)
from transformers.utils import logging

from scripts.tables import write_rows, write_settings

# The names that configurations have for the same sizes; whichever a configuration has is set.
_SIZE_NAMES = {
    128: "vocab_size",
    32: "hidden_size d_model n_embd dim emb_dim embedding_size word_embed_proj_dim",
    64: "intermediate_size ffn_dim d_ff n_inner encoder_ffn_dim decoder_ffn_dim hidden_dim dff "
    "moe_intermediate_size max_position_embeddings n_positions n_ctx max_seq_len",
    2: "num_hidden_layers num_layers n_layer n_layers encoder_layers decoder_layers num_decoder_layers "
    "num_encoder_layers num_key_value_heads num_experts_per_tok eos_token_id",
    4: "num_attention_heads num_heads n_head n_heads encoder_attention_heads decoder_attention_heads "
    "num_experts num_local_experts n_routed_experts",
    8: "head_dim d_kv",
    1: "bos_token_id",
    0: "pad_token_id",
}
SIZES = {name: size for size, names in _SIZE_NAMES.items() for name in names.split()}

# What else must be said to make a model small; None: this size cannot be set.
EXCEPTIONS = {
    "codegen": {"rotary_dim": 4},
    "falcon": {"head_dim": None},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "xlnet": {"max_position_embeddings": None},
}
LARGEST = 2_000_000  # parameters; what is larger was not made small


def small_config(model_type):
    """The configuration of a small model.

    Args:
        model_type: a name in the registry, such as "gpt2".

    Raises:
        ValueError: there is no such name, or the sizes do not go together in this architecture.
    """
    default = AutoConfig.for_model(model_type)
    sizes = {name: size for name, size in SIZES.items() if hasattr(default, name)}
    sizes |= EXCEPTIONS.get(model_type, {})
    return AutoConfig.for_model(model_type, **{k: v for k, v in sizes.items() if v is not None})


def example_inputs(config):
    """Eight token ids [1, 8]; a model with an encoder and a decoder gets them on both sides."""
    tokens = torch.arange(3, 11).unsqueeze(0)
    return {"input_ids": tokens} | ({"decoder_input_ids": tokens} if config.is_encoder_decoder else {})


def text_models():
    """The names of the registry's models of text: those with a head that predicts tokens."""
    mappings = (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )
    names = sorted({name for mapping in mappings for name in mapping})
    # A configuration that is made of others belongs to a model that also sees or hears.
    return [name for name in names if not CONFIG_MAPPING[name].sub_configs]


@torch.no_grad()
def call_architecture(name):
    """Make a small model and call it on eight tokens.

    Args:
        name: in the registry, such as those of ``text_models``.

    Returns:
        A dictionary: ``name``, ``model_class``, ``type`` ("encoder", "decoder" or "both"), ``parameters``,
        the ``shape`` of the output, and the ``reason`` why there is none. What is not known is empty.
    """
    row = dict.fromkeys(("name", "model_class", "type", "parameters", "shape", "reason"), "") | {"name": name}
    try:
        config = small_config(name)
        with torch.device("meta"):  # counted before any memory is taken
            parameters = sum(p.numel() for p in AutoModel.from_config(config).parameters())
        if parameters > LARGEST:
            raise ValueError(f"not made small: {parameters:,} parameters")
        model = AutoModel.from_config(config).eval()
        shape = tuple(model(**example_inputs(config))[0].shape)
    except Exception as error:
        return row | {"reason": f"{type(error).__name__}: {error}".split("\n")[0]}
    only = "encoder" if name in MODEL_FOR_MASKED_LM_MAPPING_NAMES else "decoder"
    row |= {"model_class": type(model).__name__, "type": "both" if config.is_encoder_decoder else only}
    return row | {"parameters": parameters, "shape": " × ".join(map(str, shape))}


def sweep_architectures(name="architectures", names=None):
    """Call every model of text; writes a row for each, and the sizes that made them small; minutes."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # many models have advice for their users
    rows = [call_architecture(one) for one in names or text_models()]
    logging.set_verbosity(verbosity)
    write_rows(name, rows)
    settings = {"command": f"hello experiment {name}", "transformers": transformers.__version__}
    write_settings(name, settings | {"sizes": SIZES, "exceptions": EXCEPTIONS, "largest": LARGEST})
