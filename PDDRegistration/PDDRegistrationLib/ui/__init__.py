"""The panel's parts."""
