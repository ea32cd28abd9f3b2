"""Models: their networks, fitting, mapping, adapting and saving."""
