"""Comparable values from counts: by a classical method, or by a model."""
