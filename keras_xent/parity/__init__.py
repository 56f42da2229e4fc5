"""Comparing implementations: how far they may be apart, and where Keras is known to differ."""

from .assertion import ParityError, assert_parity

__all__ = ["ParityError", "assert_parity"]
