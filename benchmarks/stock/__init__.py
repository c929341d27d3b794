"""What people would use instead of the bot: the smallest stock Bolt apps, one file each.

`acknowledging` only acknowledges. The other three do the bot's whole job without storing anything:
acknowledge the command, record the activity, and answer in the channel. Each channel name ends in
the number of its LeadSquared account.
"""
