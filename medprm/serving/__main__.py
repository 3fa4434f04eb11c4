"""`python -m medprm.serving checkpoint=FOLDER`: the HTTP service. All work is in medprm/commands/serve.py."""

if __name__ == "__main__":
    from pathlib import Path

    from medprm import import_last

    CHECKOUT = Path(__file__).resolve().parents[2]
    import_last(CHECKOUT)  # `python -m` searches the checkout first, whose evaluate.py hides Hugging Face's package

    from medprm.commands.entry import main

    main("serve", CHECKOUT / "conf")
