"""Make a page of a registration that can be handed on: pictures, tables, verdict, settings, in one HTML or PDF file."""
