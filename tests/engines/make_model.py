"""The tests' model as a folder that vLLM and MLX read: run by vLLM's own Python, which has the libraries.

Arguments: the GGUF file, and the folder to write.
"""

import sys
from pathlib import Path


def main(weights: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = str(weights.parent)
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=weights.name)
    model = AutoModelForCausalLM.from_pretrained(
        where, gguf_file=weights.name, dtype=torch.bfloat16
    )
    # Unpacked by now, whatever the file was; saying otherwise would make readers unpack it again.
    model.config.quantization_config = None
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
