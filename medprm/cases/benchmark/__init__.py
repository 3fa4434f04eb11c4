"""A benchmark from several sets: a recipe, its build with what is missing, a release with hidden test labels."""
