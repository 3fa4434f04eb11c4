"""The phantom: chest-film-like studies, guideline passages and candidate solutions whose every step is known.

Imaging people test a scanner with a phantom, an object whose truth is known; this is ours. It is not clinical data.
"""
