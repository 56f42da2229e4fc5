"""Losses explained: their steps on given numbers, in words, tables and pictures."""

from .explaining import explain
from .listening import Step
from .numbers import Summary
from .trace import Trace

__all__ = ["Step", "Summary", "Trace", "explain"]
