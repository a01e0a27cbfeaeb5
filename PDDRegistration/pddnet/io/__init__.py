"""Files: volumes, label maps, transforms, landmarks, weights, and the checks on what was read. No torch."""
