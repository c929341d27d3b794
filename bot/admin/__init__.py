"""What an administrator asks of a running bot, and does for its people."""
