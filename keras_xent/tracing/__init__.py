"""Losses explained: their steps on given numbers, in words, tables and pictures."""

from .explaining import explain
from .trace import Trace

__all__ = ["Trace", "explain"]
