"""A Transformers server as people write it: import, load the weights, warm up, answer over HTTP."""

from __future__ import annotations

import os
import time

STARTED = time.perf_counter()

import serving
import torch
from transformers import LlamaForCausalLM

PROMPT = [1, 15043, 3186, 29892, 825, 338, 278, 7483, 310, 3444]


def main() -> None:
    """GET /generate: sixteen tokens chosen greedily after a fixed prompt."""
    model = LlamaForCausalLM.from_pretrained("/weights", dtype=torch.bfloat16, device_map="cuda")
    model.eval()
    token = os.urandom(16).hex()

    def generate() -> dict[str, object]:
        prompt = torch.tensor([PROMPT], device="cuda")
        with torch.inference_mode():
            found = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=16,
                do_sample=False,
                pad_token_id=0,
            )
        return {"answer": found[0].tolist(), "token": token}

    generate()
    print(f"ready after {time.perf_counter() - STARTED:.1f} s", flush=True)
    serving.serve({"/generate": generate})


if __name__ == "__main__":
    main()
