"""Alerts: one for each fault, however often it recurs, and another when it is over."""
