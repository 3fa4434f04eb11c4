"""`python -m medprm.review data.path=labelled.jsonl`: the expert web application (medprm/commands/review.py)."""

if __name__ == "__main__":
    from pathlib import Path

    from medprm import import_last

    CHECKOUT = Path(__file__).resolve().parents[2]
    import_last(CHECKOUT)  # as in train.py

    from medprm.commands.entry import main

    main("review", CHECKOUT / "conf")
