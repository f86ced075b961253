"""Annotation files and photos in, batches out."""
