"""Which workspaces have installed the bot, and the tokens with which it speaks there."""
