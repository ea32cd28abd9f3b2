"""Settling what becomes of the model, and holding a refused run back."""
