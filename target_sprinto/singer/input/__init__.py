"""What comes in: lines of stdin, Singer messages, batch files."""
