"""A second program: local stand-ins for Slack and LeadSquared, and a terminal to try the bot with.

The tests use the same.
"""
