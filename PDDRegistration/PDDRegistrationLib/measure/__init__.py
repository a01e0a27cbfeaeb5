"""Measure any transform of the scene: the job, its tables, summary and chart."""
