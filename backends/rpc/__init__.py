"""Boards over TVM's RPC: the tracker, what a board serves, and what emulates one.

Nothing is imported here: a board has neither the compiler nor the command line.
"""
