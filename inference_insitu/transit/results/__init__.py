"""Answers as tables: Parquet, earlier runs, views in SQL."""
