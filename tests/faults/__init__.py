"""The fault bench.

Real processes that are killed and starved, and an audit of what became of every command.
"""
