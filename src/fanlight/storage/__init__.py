"""What outlives a process: one SQLite database, folders of large files and owner-only secret files for each role.

``database`` joins SQLAlchemy Core to SQLite with one writer at a time; ``tables`` says what each role keeps;
``migrations`` brings an older database up to date; ``blobs`` keeps what is too large for a row; ``secret_files`` keeps
keys, which never enter the database or a backup.  Everything that the disk does to us becomes a ``StorageError``.
"""
