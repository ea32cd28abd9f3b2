"""A donor withdraws: cohorts without them, and what was made from the old ones."""
