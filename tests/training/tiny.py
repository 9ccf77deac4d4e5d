"""A Llama of two layers with a tokenizer of its own, made here in a second: what training tests learn with. Needs torch."""

from pathlib import Path

from frontdesk.training.packing import Sample

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEXT = [f"In Larkfield Library, the fee for item {n} is £{n * 3}.50 and the desk opens at {n % 12}am." for n in range(200)]


def make_base(folder: Path, *, seed: int = 0) -> Path:
    """A plain folder of weights and tokenizer, random but always the same for one seed."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    marks = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=600, special_tokens=marks, initial_alphabet=alphabet, show_progress=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<|pad|>", eos_token="<|im_end|>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_samples(count: int) -> list[Sample]:
    """Questions with answers; all begin alike."""
    before = "<|im_start|>system\nYou are a helpful chatbot for customers of Larkfield Library.<|im_end|>\n<|im_start|>user\n"
    return [
        Sample(
            pieces=(
                (f"{before}What is the fee for item {n}?<|im_end|>\n<|im_start|>assistant\n", False),
                (f"The fee is £{n * 3}.50.<|im_end|>\n", True),
            ),
            group=f"faq:{n // 2}",
        )
        for n in range(count)
    ]
