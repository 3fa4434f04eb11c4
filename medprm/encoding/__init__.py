"""Labelled cases to tensors: prompts, turns, tokens, targets, collator, preview."""
