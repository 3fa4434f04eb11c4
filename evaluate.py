"""Evaluate a process reward model: `python evaluate.py --help`. All work is in medprm/commands/evaluate.py."""

if __name__ == "__main__":
    from pathlib import Path

    from medprm import import_last

    CHECKOUT = Path(__file__).resolve().parent
    import_last(CHECKOUT)  # this file must not hide Hugging Face's package `evaluate`

    from medprm.commands.entry import main

    main("evaluate", CHECKOUT / "conf")
