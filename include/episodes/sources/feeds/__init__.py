"""Podcast feeds (RSS, Atom) as a source: a list of addresses, polled politely, merged into one growing catalogue."""
