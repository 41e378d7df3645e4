"""Brokers that are killed, torn and refused: what a restart must give back."""
