"""Removing what is no longer needed, so that nothing grows for ever."""
