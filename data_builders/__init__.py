"""Builders turn images, findings, clinical logic and judges into training records."""
