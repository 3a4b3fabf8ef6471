"""The Singer target: messages in, STATE out."""
