"""Boards that come with the package, a file for each maker's."""
