"""Losses, samplers, networks and training for datasets that are each labelled for another task."""
