"""The commands that install without a server: their arguments, what they print, and how they end."""
