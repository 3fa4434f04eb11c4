"""`python -m medprm.commands.convert SOURCE TARGET --to native|original`: a checkpoint from one layout to the other.

In: a folder or hub id in either layout. Out: a new folder. Native to original needs the original's config.json and
tokenizer: a model that came from the original layout has them in `original/`; --like names another checkpoint to take
them from. Weights are copied bit by bit unless --dtype says otherwise. See docs/internvl.md.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from transformers import InternVLForConditionalGeneration
from transformers.utils import logging as transformers_logging

from medprm.errors import InputError
from medprm.model.errors import ModelError
from medprm.model.loading import (
    AS_STORED,
    DTYPES,
    PRM_FILE,
    LoadedModel,
    load_checkpoint,
    local_folder,
    original_files,
    save_checkpoint,
    write_files,
)
from medprm.model.original_layout import MAX_SHARD_BYTES, write_original

LAYOUTS = ("native", "original")


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    transformers_logging.disable_progress_bar()
    try:
        convert(given.source, given.target, given.to, given.dtype, given.like, int(given.shard_gib * 2**30))
    except InputError as error:
        print(f"convert: {error}", file=sys.stderr)
        return 2
    print(f"{given.to} layout in {given.target}")
    return 0


def convert(
    source: str,
    target: Path,
    layout: str,
    dtype: str = AS_STORED,
    like: str | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write `source` in `layout` to `target`, whole or not at all."""
    if target.exists():
        raise InputError(f"{target} exists; expected a new folder; give another TARGET")
    loaded = load_checkpoint(source, dtype=dtype)
    if like:
        loaded.original_files = original_files(local_folder(like))
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        if layout == "native":
            save_checkpoint(draft, loaded, loaded.prm)
        else:
            _write_original_folder(draft, loaded, source, max_shard_bytes)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_original_folder(folder: Path, loaded: LoadedModel, source: str, max_shard_bytes: int) -> None:
    files = dict(loaded.original_files)
    if "config.json" not in files:
        raise ModelError(
            f"model {source}: it does not know an original checkpoint; "
            "give --like FOLDER, the original that it was trained from"
        )
    original = json.loads(files["config.json"])
    if not isinstance(loaded.model, InternVLForConditionalGeneration):
        raise ModelError(f"model {source}: it reads text only; the original layout is InternVL's; choose --to native")
    write_original(folder, loaded.model, original, max_shard_bytes)
    write_files(folder, files | _dtype_changed(files["config.json"], str(loaded.model.dtype).removeprefix("torch.")))
    if loaded.prm is not None:
        (folder / PRM_FILE).write_text(json.dumps(loaded.prm, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _dtype_changed(config: bytes, dtype: str) -> dict[str, bytes]:
    """config.json with the weights' dtype; nothing where it says so already."""
    fields = json.loads(config)
    if fields.get("torch_dtype", dtype) == dtype:
        return {}
    return {"config.json": (json.dumps(fields | {"torch_dtype": dtype}, indent=2, ensure_ascii=False) + "\n").encode()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medprm.commands.convert", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", help="folder or hub id of a checkpoint in either layout")
    parser.add_argument("target", type=Path, help="folder to write; it must not exist")
    parser.add_argument("--to", choices=LAYOUTS, required=True, help="layout to write")
    parser.add_argument("--dtype", choices=(AS_STORED, *DTYPES), default=AS_STORED, help="of the written weights")
    parser.add_argument("--like", help="original checkpoint whose config.json and tokenizer are written")
    parser.add_argument(
        "--shard-gib", type=float, default=MAX_SHARD_BYTES / 2**30, help="largest file, original layout"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
