"""Reading a catalogue, cleaning it, quarantining what cannot be used, and keeping it as immutable snapshots."""
