"""Files: reads, checks and writes volumes, label maps, transforms, landmarks and weights. No torch."""
