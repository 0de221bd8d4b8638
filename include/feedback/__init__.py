"""What listeners search for, open and play: recording it, learning from it, and daily search quality."""
