"""Experts look at images and write findings."""
