"""The tables of each role.  Times are whole unix seconds; keys and hashes are raw bytes; records are canonical CBOR."""
