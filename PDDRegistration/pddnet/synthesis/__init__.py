"""Paint virtual patients from label maps of people, with other poses, organs and scanners."""
