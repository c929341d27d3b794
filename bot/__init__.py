"""Record a customer's portal activity on a LeadSquared ticket from Slack."""

__version__ = "0.1.0"
