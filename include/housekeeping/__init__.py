"""Removing what nobody needs any more, so that nothing grows for ever."""
