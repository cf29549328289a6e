"""What each role does: its HTTP interface and its loops around the state machines of ``fanlight.protocol``."""
