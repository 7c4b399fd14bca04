"""Watching a run: events, metrics, the ledger's reader, a live terminal view and the report."""
