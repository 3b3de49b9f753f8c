"""Random weights of a Llama-shaped model, saved once as safetensors: weights.py DIRECTORY SIZE."""

from __future__ import annotations

import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

SHAPES = {
    # Llama 3.1's own shapes for 8B and 1B.
    "8b": {"hidden_size": 4096, "layers": 32, "intermediate_size": 14336, "heads": 32},
    "1b": {"hidden_size": 2048, "layers": 16, "intermediate_size": 8192, "heads": 32},
    "tiny": {"hidden_size": 256, "layers": 2, "intermediate_size": 512, "heads": 8},
}


def main() -> None:
    """Draws the weights on the device, in bfloat16."""
    shape = SHAPES[sys.argv[2]]
    config = LlamaConfig(
        hidden_size=shape["hidden_size"],
        num_hidden_layers=shape["layers"],
        intermediate_size=shape["intermediate_size"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=8,
        vocab_size=128256,
        rope_theta=500000.0,
    )
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config)
    model.save_pretrained(sys.argv[1])
    print(sum(parameter.numel() for parameter in model.parameters()))


if __name__ == "__main__":
    main()
