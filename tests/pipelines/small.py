"""The study of these tests: fewer than 200 cells, levelled the classical way in seconds."""

STUDY = {
    "cells": 196,
    "genes": 1000,
    "types": 3,
    "tree": "site=2,lab=2",
    "batch_sd": 0.5,
    "condition_genes": 40,
}
COLUMNS = {"batch": "site>lab", "label": "cell_type", "condition": "condition", "donor": "donor"}


def as_options(**columns: str) -> list[str]:
    """Columns as words of a command line."""
    return [word for name, column in columns.items() for word in (f"--{name}", column)]
