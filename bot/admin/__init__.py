"""What an administrator asks of the bot beside its tenants."""
