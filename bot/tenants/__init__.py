"""Slack workspaces (or channels) mapped to LeadSquared tenants."""
