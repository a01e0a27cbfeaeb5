"""Networks of the source papers that predict a displacement field, to be compared with the method of this project."""
