"""Label the steps of solutions: `python annotate.py --help`. All work is in medprm/commands/annotate.py."""

if __name__ == "__main__":
    from pathlib import Path

    from medprm import import_last

    CHECKOUT = Path(__file__).resolve().parent
    import_last(CHECKOUT)  # the evaluate.py beside this file must not hide Hugging Face's package `evaluate`

    from medprm.commands.entry import main

    main("annotate", CHECKOUT / "conf")
