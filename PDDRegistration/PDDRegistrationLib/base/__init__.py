"""Texts and colours that every panel uses."""
