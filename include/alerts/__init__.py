"""Telling people what failed: one alert for a fault however often it recurs, and word when it is over."""
