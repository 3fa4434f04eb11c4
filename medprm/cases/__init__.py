"""The record and its files: schema, JSONL and Parquet, splits, answers, public-format readers, the phantom."""
