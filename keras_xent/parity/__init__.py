"""Comparing implementations: how far they may be apart, and where Keras is known to differ."""
