"""Running podsearch: on one machine (local/), and on clusters."""
