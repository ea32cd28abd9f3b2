"""Judging a levelled cohort: gates, controls, scores, verdict."""
