"""What listeners search, open and play: recording it, learning from it, and how good search was each day."""
