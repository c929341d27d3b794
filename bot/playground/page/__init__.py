"""The playground as a page in the browser: Slack, LeadSquared and what goes between them."""
