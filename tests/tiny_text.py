"""A tiny Llama with Llama 3's control tokens, and text cases: what a text-only PRM is tested with. Seeded."""

from functools import lru_cache
from pathlib import Path

import torch
from small_run import SIZES
from tiny import WORDS, full_record
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from medprm.cases.jsonl import write_cases
from medprm.cases.schema import CaseSolutions
from medprm.encoding.chat import LLAMA_3
from medprm.images.settings import ImageSettings
from medprm.model.loading import LoadedModel

BEGIN, END, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"


TEXTS = (" ".join(WORDS), "Question: What is seen? Document 1: system user assistant + + - - + -") * 9


@lru_cache(maxsize=2)
def text_tokenizer(
    step_token: str | None = None, texts: tuple[str, ...] = TEXTS, vocab_size: int = 420
) -> PreTrainedTokenizerBase:
    """Byte-level BPE of `texts` behind Llama 3's control tokens; `step_token` is added last, as Med-PRM's is."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    controls = [BEGIN, END, PAD, *LLAMA_3.control_tokens]
    trainer = trainers.BpeTrainer(  # type: ignore[call-arg]
        vocab_size=vocab_size,
        special_tokens=controls,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=LLAMA_3.end,
        additional_special_tokens=controls[2:],
        clean_up_tokenization_spaces=False,
    )
    if step_token:
        fast.add_tokens([step_token])
    return fast


def text_model(step_token: str | None = None, seed: int = 0) -> LoadedModel:
    """Two layers of width 32; weights large enough that scores differ."""
    tokenizer = text_tokenizer(step_token)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return LoadedModel(model.eval(), tokenizer, ImageSettings(), 0, None)


def text_case(name: str, num_solutions: int = 2) -> CaseSolutions:
    """A case without images, and solutions of two to four steps."""
    records = []
    for index in range(num_solutions):
        labels = ["correct", "incorrect", "correct", "unknown"][: 2 + (len(name) + index) % 3]
        steps = [
            {"step_id": k, "content": f"{WORDS[k]} {WORDS[-1 - index]}, so {name}", "label": label}
            for k, label in enumerate(labels)
        ]
        changes = {
            "case_id": name,
            "patient_id": name,
            "modality": "text",
            "images": [],
            "solution_id": f"s{index}",
            "answer": "AB"[index % 2],
            "is_correct": index % 2 == 0,
            "solution_steps": steps,
        }
        records.append(full_record(**changes))
    return CaseSolutions(records[0].case(), [one.solution() for one in records])


def write_text_records(folder: Path) -> Path:
    """train, validation and test."""
    folder.mkdir(parents=True)
    for split, num_cases in SIZES.items():
        cases = [text_case(f"{split}_{'x' * number}") for number in range(1, num_cases + 1)]
        write_cases(folder / f"{split}.jsonl", cases)
    return folder
