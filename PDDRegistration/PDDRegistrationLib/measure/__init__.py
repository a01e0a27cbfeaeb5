"""Measure any transform of the scene: selection, job, metrics, tables, CSV, summary and chart."""
