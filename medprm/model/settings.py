"""Settings of the model room: which weights, and which of them are trained. Light: no torch and no transformers."""

from dataclasses import dataclass, field

from medprm.errors import InputError, check_choice

ATTENTION = ("auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3")
TREE_ATTENTION = ("auto", "gather", "mask", "flex")
TUNING_KINDS = ("full", "lora", "qlora")


@dataclass
class ModelSettings:
    """Which weights training starts from."""

    # "tiny": the base that ships with the package; else a folder or a hub id, native or original InternVL layout.
    path: str = "tiny"
    # Most tiles an image is cut into; null: as the checkpoint says.
    max_tiles: int | None = None
    # Attention of transformers: auto (flash attention where it is installed and can run, else sdpa), sdpa, eager,
    # flash_attention_2, flash_attention_3.
    attn_implementation: str = "auto"

    def __post_init__(self) -> None:
        check_choice("model.attn_implementation", self.attn_implementation, ATTENTION)


@dataclass
class TuningSettings:
    """Which weights are trained."""

    # full: all of them; lora: small adapters in the text model, merged into the saved checkpoint; qlora: the same with
    # the frozen weights beside them in four bits (GPU only, needs bitsandbytes).
    kind: str = "full"
    # kind=full: leave the vision tower as it is.
    freeze_vision: bool = False
    # kind=full: leave the projector as it is.
    freeze_projector: bool = False
    # kind=full: leave the text model as it is.
    freeze_text: bool = False
    # kind=lora or qlora: rank of the adapters.
    r: int = 16
    # kind=lora or qlora: the adapters' output is scaled by lora_alpha / r.
    lora_alpha: int = 32
    # kind=lora or qlora: chance that an input of an adapter is dropped, in [0, 1).
    lora_dropout: float = 0.05
    # kind=lora or qlora: names of the adapted linear layers of the text model.
    target_modules: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )

    def __post_init__(self) -> None:
        check_choice("tuning.kind", self.kind, TUNING_KINDS)
        frozen = [part for part in ("vision", "projector", "text") if getattr(self, f"freeze_{part}")]
        if self.kind != "full" and frozen:
            raise InputError(
                f"tuning.freeze_{frozen[0]} is true but tuning.kind={self.kind} freezes everything beside the adapters "
                "anyway; leave it out"
            )
        if len(frozen) == 3:
            raise InputError(
                "tuning.freeze_vision, freeze_projector and freeze_text are all true: nothing is trained; "
                "set one of them to false"
            )
        if self.r < 1 or not self.target_modules or not 0 <= self.lora_dropout < 1:
            raise InputError(
                f"tuning.r is {self.r}, lora_dropout {self.lora_dropout}, target_modules {self.target_modules}; "
                "expected r of 1 or more, 0 <= lora_dropout < 1, and at least one module"
            )
