"""The authorization server: codes, tokens, and what it says about a token."""
