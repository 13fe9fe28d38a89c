"""Manifests of older schemas, read as this one."""
