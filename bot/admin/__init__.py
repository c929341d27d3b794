"""What an administrator asks of the bot, and does for its people."""
