"""What is kept of training data, and why the rest is not: by steps and answers, duplicates, leakage, labels."""
