"""The input: lines of stdin, Singer messages, batch files."""
