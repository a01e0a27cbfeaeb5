"""Measure a registration: overlap, surface distances, landmark errors, Jacobian determinants; and the report."""
